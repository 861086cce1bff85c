import { setImmediate, setTimeout } from 'node:timers/promises'
import { nowMs } from './jobs.ts'

/** Rows of an INSERT where it goes as fast as it can, and INSERTs a second where it is paced. */
export const ROWS_PER_INSERT = 500
export const INSERTS_PER_SECOND = 200
export const INSERTS_IN_FLIGHT = 2

const TICK_MS = 5

/**
 * For `ms`, calls `send` with how many events are due at `rate` a second, or, without one, with as many as go at once;
 * in between, the sockets get their turn.
 */
export async function inPace(
  { ms, rate, atOnce }: { readonly ms: number; readonly rate?: number | undefined; readonly atOnce: number },
  send: (count: number) => unknown,
): Promise<void> {
  const startedAt = nowMs()
  let sent = 0
  for (let elapsedMs = 0; elapsedMs < ms; elapsedMs = nowMs() - startedAt) {
    const due = rate === undefined ? atOnce : Math.floor((elapsedMs * rate) / 1000) - sent
    const count = Math.min(due, atOnce)
    sent += count
    await (count > 0 ? send(count) : setTimeout(TICK_MS))
    await setImmediate()
  }
}
