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

/** The pid file of Postgres; it stays if the server is killed. */
export function pidFile(layout: Layout): string {
  return join(layout.data, 'postmaster.pid')
}

/** The running server of this data folder; undefined if there is none, even if there is a pid file. */
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
  // In a container, root may not be allowed to read the working directory of another account, but its command line.
  const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
  return command.split('\0').includes(data) || isPostgresIn(pid, data)
}

/** Whether it is a Postgres whose working directory is this folder, and not a shell, for example. Linux only. */
export async function isPostgresIn(pid: number, data: string): Promise<boolean> {
  const cwd = await readlink(`/proc/${pid}/cwd`).catch(() => undefined)
  return cwd === data && (await procStat(pid))?.command === 'postgres'
}
