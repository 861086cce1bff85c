import type { Pool } from './pool.ts'

/** How a recording statement treats locks that others hold. */
export interface LockPolicy {
  /** How long it waits for each. */
  readonly timeoutMs: number
  /** Whether it passes over the rows whose story, or whose author's stream, is locked at that moment. */
  readonly passHeld: boolean
}

/**
 * The CTE `bounded`, for a statement to read from before it locks anything: it waits for each row's lock no longer than
 * this (SQLSTATE 55P03). Set for the transaction alone, so that it works through a transaction pooler too.
 */
export function boundedWait(sql: Pool, timeoutMs = 500) {
  return sql`bounded as materialized (select set_config('lock_timeout', ${String(timeoutMs)}, true))`
}

/**
 * Parts of a recording statement with `input (story_id, …)` and `s`, the story of each of its rows: the CTEs that lock
 * what can be locked without waiting, and the author in whose way a lock stands, or null. Where nobody looks it stays
 * a plain statement, because planning the search costs a lone write a third more.
 */
export function heldParts(sql: Pool, { passHeld }: LockPolicy) {
  if (!passHeld) return { free: sql``, author: sql`null::text` }
  return {
    free: sql`
    free_stories as materialized (
      select id from glimpse.stories where id in (select story_id from input) for key share skip locked
    ),
    free_streams as materialized (
      select user_id from glimpse.streams
       where user_id in (select author_id from glimpse.stories where id in (select story_id from input))
         for no key update skip locked
    ),`,
    author: sql`
      case when s.id not in (select id from free_stories)
             or s.author_id not in (select user_id from free_streams)
                and exists (select from glimpse.streams t where t.user_id = s.author_id)
           then s.author_id end`,
  }
}
