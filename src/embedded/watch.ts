import { access, stat, truncate } from 'node:fs/promises'
import type { Logger } from '../observability/log.ts'
import type { Layout } from './layout.ts'
import { findPostmaster, pidFile } from './postmaster.ts'

const INTERVAL_MS = 1000
const MAX_PAUSE_MS = 30_000
const MAX_LOG_BYTES = 64 * 1024 * 1024

/**
 * Looks after the server while we use it: one that was killed (the kernel's out-of-memory killer takes big
 * processes first) is started again on the same port, and its log is kept bounded. One that somebody stopped in
 * the proper way stays stopped. Keeps no process alive.
 *
 * @param revive starts the server again where it is still down; called one at a time, and later after each failure
 * @returns ends the watch
 */
export function watchServer(layout: Layout, log: Logger, revive: () => Promise<void>): () => void {
  let timer: NodeJS.Timeout
  let pause = INTERVAL_MS
  let ended = false
  const look = async () => {
    try {
      if (await wasKilled(layout)) await revive()
      pause = INTERVAL_MS
      await boundLog(layout.log)
    } catch (error) {
      log.error({ err: error }, 'embedded Postgres is down and could not be started again')
      pause = Math.min(pause * 2, MAX_PAUSE_MS)
    }
    if (!ended) next()
  }
  const next = () => {
    timer = setTimeout(look, pause)
    timer.unref()
  }
  next()
  return () => {
    ended = true
    clearTimeout(timer)
  }
}

/** A server that stops takes its pid file with it; one that is killed can't. */
async function wasKilled(layout: Layout): Promise<boolean> {
  if ((await findPostmaster(layout)) !== undefined) return false
  return access(pidFile(layout)).then(
    () => true,
    () => false,
  )
}

/** Emptied under the server, which appends: it goes on at the new end. */
async function boundLog(path: string): Promise<void> {
  const size = await stat(path).then(
    (stats) => stats.size,
    () => 0,
  )
  if (size > MAX_LOG_BYTES) await truncate(path, 0)
}
