import { readdir, rm } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from '../observability/log.ts'
import type { Layout } from './layout.ts'
import { isPostgresIn, pidFile } from './postmaster.ts'
import { identify, isAlive, type ProcessIdentity, signal } from './process.ts'

/**
 * Removes what a server leaves that was killed with -9; called under the lock, after findPostmaster found none. Its orphaned
 * backends keep working, and while one lives Postgres refuses to start on the folder (measured: for up to 28 s). And its pid
 * file blocks a new server if the pid now belongs to another process.
 */
export async function clearRemains(layout: Layout, log: Logger): Promise<void> {
  const orphans = await postgresIn(layout.data)
  if (orphans.length > 0) {
    log.warn({ pids: orphans.map(({ pid }) => pid) }, 'ending Postgres processes that outlived their server')
    for (const name of ['SIGQUIT', 'SIGKILL'] as const) await end(orphans, layout.data, name)
  }
  await rm(pidFile(layout), { force: true })
}

/** Signals those that are alive and waits up to 2 s for their end. */
async function end(orphans: readonly ProcessIdentity[], data: string, name: NodeJS.Signals): Promise<void> {
  for (const orphan of orphans) {
    // Checked again: another process may have the pid now.
    if ((await isAlive(orphan)) && (await isPostgresIn(orphan.pid, data))) signal(orphan.pid, name)
  }
  for (let waited = 0; waited < 2000; waited += 20) {
    const living = await Promise.all(orphans.map(isAlive))
    if (!living.includes(true)) return
    await sleep(20)
  }
}

/** Linux only. Elsewhere none are found, and the start is repeated until they are gone. */
async function postgresIn(data: string): Promise<ProcessIdentity[]> {
  if (process.platform !== 'linux') return []
  const found: ProcessIdentity[] = []
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name) || !(await isPostgresIn(Number(name), data))) continue
    const identity = await identify(Number(name))
    if (identity !== undefined) found.push(identity)
  }
  return found
}
