import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import { identify } from '../../../src/embedded/process.ts'
import type { Home } from './home.ts'

export async function query(url: string, statement: string): Promise<Record<string, unknown>[]> {
  const sql = postgres(url, { max: 1, connect_timeout: 5, onnotice: () => {} })
  try {
    return [...(await sql.unsafe(statement))]
  } finally {
    await sql.end({ timeout: 1 })
  }
}

/** Whether a server takes connections there. */
export async function answers(url: string): Promise<boolean> {
  return query(url, 'SELECT 1').then(
    () => true,
    () => false,
  )
}

export async function postmasterPid(home: Home, folder: string): Promise<number> {
  const text = await readFile(join(home.folder(folder), 'postgres', 'data', 'postmaster.pid'), 'utf8')
  return Number(text.split('\n')[0])
}

/** Waits for something that another process does. */
export async function until(
  what: string,
  happened: () => boolean | Promise<boolean>,
  ms = 10_000,
): Promise<void> {
  for (const deadline = Date.now() + ms; !(await happened()); await sleep(10)) {
    if (Date.now() > deadline) throw new Error(`not within ${ms} ms: ${what}`)
  }
}

/** A zombie that nobody collected yet does not count. */
export async function exists(pid: number): Promise<boolean> {
  return (await identify(pid)) !== undefined
}
