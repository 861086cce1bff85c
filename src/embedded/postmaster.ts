import { readFile, readlink } from 'node:fs/promises'
import { join } from 'node:path'
import type { Layout } from './layout.ts'
import { identify, type ProcessIdentity, procStat } from './process.ts'

/** The server of this data folder, alive. */
export interface Postmaster extends ProcessIdentity {
  readonly port: number
  /** False while it starts, recovers or stops. */
  readonly ready: boolean
}

/** The file in which Postgres says who runs on the folder; it stays behind when that one is killed. */
export function pidFile(layout: Layout): string {
  return join(layout.data, 'postmaster.pid')
}

/** Who runs on this data folder; undefined where nobody does, whatever the pid file says. */
export async function findPostmaster(layout: Layout): Promise<Postmaster | undefined> {
  const lines = (await readFile(pidFile(layout), 'utf8').catch(() => '')).split('\n')
  const pid = Number(lines[0])
  if (!Number.isSafeInteger(pid) || pid <= 0) return undefined
  const identity = await identify(pid)
  if (identity === undefined || !(await servesFolder(pid, layout.data))) return undefined
  return { ...identity, port: Number(lines[3]), ready: lines[7]?.trim() === 'ready' }
}

async function servesFolder(pid: number, data: string): Promise<boolean> {
  if (process.platform !== 'linux') return true
  // Root in a container may not look at another account's working directory, but at its command line it may.
  const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
  return command.split('\0').includes(data) || isPostgresIn(pid, data)
}

/** Whether it is a Postgres that works in this folder (somebody's shell may stand there as well). Linux only. */
export async function isPostgresIn(pid: number, data: string): Promise<boolean> {
  const cwd = await readlink(`/proc/${pid}/cwd`).catch(() => undefined)
  return cwd === data && (await procStat(pid))?.command === 'postgres'
}
