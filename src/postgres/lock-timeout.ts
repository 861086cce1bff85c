import type { Pool } from './pool.ts'

/** How a recording statement treats locks that others hold. */
export interface LockPolicy {
  /** How long it waits for each. */
  readonly timeoutMs: number
  /** Whether it passes over the rows whose story, or whose author's stream, is locked at that moment. */
  readonly skipLocked: boolean
  /** Whether it waits apart from the others, for a lock that is known to be held. */
  readonly isolated: boolean
}

/**
 * The CTE `bounded`, for a statement to read from before it locks anything: it waits for each row's lock no longer than
 * this (SQLSTATE 55P03). Set for the transaction alone, so that it works through a transaction pooler too.
 */
export function boundedWait(sql: Pool, timeoutMs = 500) {
  return sql`bounded as materialized (select set_config('lock_timeout', ${String(timeoutMs)}, true))`
}
