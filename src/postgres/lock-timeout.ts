import type { Pool } from './pool.ts'

/** How a write treats locks of other transactions. */
export interface LockPolicy {
  /** How long it waits for each lock. */
  readonly timeoutMs: number
  /** Skip-locked mode: whether it passes over rows whose story, or whose author's stream, is locked. */
  readonly skipLocked: boolean
  /** Whether it waits, apart from the other writes, for a lock that somebody is known to hold. */
  readonly isolated: boolean
}

/**
 * The CTE `bounded`. A statement that reads from it before it locks anything waits for each lock no longer than this (SQLSTATE
 * 55P03). The setting lasts for the transaction, so it works through a transaction pooler too.
 */
export function boundedWait(sql: Pool, timeoutMs = 500) {
  return sql`bounded as materialized (select set_config('lock_timeout', ${String(timeoutMs)}, true))`
}
