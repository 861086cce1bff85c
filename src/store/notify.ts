import type { Pool } from './pool.ts'

/**
 * Sends a payload on the channel of the events, the way writers do: through the pool.
 *
 * @returns how full the cluster's NOTIFY queue is, 0 to 1. Asking also makes Postgres forget what nobody waits for any
 *   more: after a session that pinned the queue is gone, writes went on failing until somebody asked.
 */
export async function sendCanary(sql: Pool, payload: string): Promise<number> {
  const [row] = await sql<{ usage: number }[]>`
    select pg_notification_queue_usage() as usage, pg_notify('glimpse_events', ${payload})`
  return row?.usage ?? 0
}
