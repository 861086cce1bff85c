import { access, stat, truncate } from 'node:fs/promises'
import type { Logger } from '../observability/log.ts'
import type { Layout } from './layout.ts'
import { findPostmaster, pidFile } from './postmaster.ts'

const INTERVAL_MS = 1000
const MAX_PAUSE_MS = 30_000
const MAX_LOG_BYTES = 64 * 1024 * 1024

/**
 * Watches the server while we use it. A killed server (the out-of-memory killer prefers large processes) is started again on
 * the same port; one that was stopped regularly stays stopped. Also bounds the size of its log. Keeps no process alive.
 *
 * @param revive starts the server if it is still down; calls do not overlap, and come later after each failure
 * @returns stops watching
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

/** A server that stops removes its pid file; a killed one cannot. */
async function wasKilled(layout: Layout): Promise<boolean> {
  if ((await findPostmaster(layout)) !== undefined) return false
  return access(pidFile(layout)).then(
    () => true,
    () => false,
  )
}

/** Truncates the log. The server appends, so it continues at the new end. */
async function boundLog(path: string): Promise<void> {
  const size = await stat(path).then(
    (stats) => stats.size,
    () => 0,
  )
  if (size > MAX_LOG_BYTES) await truncate(path, 0)
}
