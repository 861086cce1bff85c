import { readdir, rm } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from '../observability/log.ts'
import type { Layout } from './layout.ts'
import { isPostgresIn, pidFile } from './postmaster.ts'
import { identify, isAlive, type ProcessIdentity, signal } from './process.ts'

/**
 * Clears what a server killed with -9 leaves behind; called under the lock, once findPostmaster found none.
 * Its orphaned backends go on working, and while one lives Postgres refuses to start on the folder (measured: for
 * up to 28 s). And its pid file keeps a new server out where the pid now belongs to another process.
 */
export async function clearRemains(layout: Layout, log: Logger): Promise<void> {
  const orphans = await postgresIn(layout.data)
  if (orphans.length > 0) {
    log.warn({ pids: orphans.map(({ pid }) => pid) }, 'ending Postgres processes that outlived their server')
    for (const name of ['SIGQUIT', 'SIGKILL'] as const) await end(orphans, layout.data, name)
  }
  await rm(pidFile(layout), { force: true })
}

/** Signals those still alive and waits up to 2 s for them to go. */
async function end(orphans: readonly ProcessIdentity[], data: string, name: NodeJS.Signals): Promise<void> {
  for (const orphan of orphans) {
    // Looked at again: the pid may have been given to an innocent process since.
    if ((await isAlive(orphan)) && (await isPostgresIn(orphan.pid, data))) signal(orphan.pid, name)
  }
  for (let waited = 0; waited < 2000; waited += 20) {
    const living = await Promise.all(orphans.map(isAlive))
    if (!living.includes(true)) return
    await sleep(20)
  }
}

/** Linux only; elsewhere none are found, and Postgres is asked again until they are gone. */
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
