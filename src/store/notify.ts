import type { Pool } from '../postgres/pool.ts'

/**
 * Sends a payload on the channel of the events, the way writers do: through the pool.
 *
 * @returns the history that is written, the server's clock, and how full the cluster's NOTIFY queue is, 0 to 1. Asking also makes Postgres
 *   forget what nobody waits for any more: after a session that pinned the queue is gone, writes went on failing until
 *   somebody asked.
 */
export async function sendCanary(
  sql: Pool,
  payload: string,
): Promise<{ queueUsage: number; epoch: string; clockMs: number }> {
  const [row] = await sql<{ usage: number; epoch: string; clock: number }[]>`
    select pg_notification_queue_usage() as usage, glimpse.epoch() as epoch,
           (extract(epoch from clock_timestamp()) * 1000)::float8 as clock, pg_notify('glimpse_events', ${payload})`
  return { queueUsage: row?.usage ?? 0, epoch: row?.epoch ?? '', clockMs: row?.clock ?? 0 }
}
