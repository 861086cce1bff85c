import { isTimeout } from '../postgres/connection-error.ts'
import type { Pool } from '../postgres/pool.ts'

/** One canary in this many waits until its commit is safe. The others do not, so that they measure the clock well. */
const SAFE_EVERY = 4

/** How managed Postgres refuses pg_logical_emit_message: not allowed, not in this state, missing, not supported. */
const WAL_REFUSED: ReadonlySet<string | undefined> = new Set(['42501', '55000', '42883', '0A000'])

/** The canaries of an instance. The commit of a NOTIFY alone waits for nothing, so some canaries write a little WAL too. */
export class Canary {
  readonly #sql: Pool
  #sent = 0
  #commitsHang = false
  #mayWrite = true

  constructor(sql: Pool) {
    this.#sql = sql
  }

  /** Whether the last safe commit timed out, for example because a synchronous standby is gone. */
  get commitsHang(): boolean {
    return this.#commitsHang
  }

  /** Sends a payload as sendCanary() does. */
  async send(payload: string): ReturnType<typeof sendCanary> {
    this.#sent++
    const safe = this.#mayWrite && (this.#commitsHang || this.#sent % SAFE_EVERY === 0)
    try {
      const shown = await sendCanary(this.#sql, payload, safe)
      if (safe) this.#commitsHang = false
      return shown
    } catch (error) {
      if (safe && WAL_REFUSED.has((error as { code?: string }).code)) {
        this.#mayWrite = false
        return this.send(payload)
      }
      if (safe) this.#commitsHang = isTimeout(error)
      throw error
    }
  }
}

/**
 * Sends a payload on the channel of the events, through the pool, as writers do.
 *
 * @param safe whether the commit waits until it is durable, as that of a write does
 * @returns the current epoch and channel, the server's clock, and how full the cluster's NOTIFY queue is, 0 to 1. Asking for
 *   it also makes Postgres trim the queue: after a session that pinned the queue had gone, writes kept failing until somebody
 *   asked.
 */
export async function sendCanary(
  sql: Pool,
  payload: string,
  safe = false,
): Promise<{ queueUsage: number; epoch: string; channel: string; clockMs: number }> {
  const [row] = await sql<{ usage: number; epoch: string; channel: string; clock: number }[]>`
    select pg_notification_queue_usage() as usage, glimpse.epoch() as epoch, channel,
           (extract(epoch from clock_timestamp()) * 1000)::float8 as clock, pg_notify(channel, ${payload}),
           case when ${safe}::bool then pg_logical_emit_message(true, 'glimpse', '') end
      from glimpse.history`
  if (row === undefined) throw new Error('glimpse.history has no row: run glimpse new-history')
  return { queueUsage: row.usage, epoch: row.epoch, channel: row.channel, clockMs: row.clock }
}
