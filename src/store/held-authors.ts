import type { Fragment } from 'postgres'
import type { Pool } from './pool.ts'

/**
 * Of a recording statement, the CTE `held`: the authors of the rows to be written whose stream somebody else has locked
 * at this moment. Their rows are passed over; the other streams are locked here, in no order, but without waiting.
 */
export function heldAuthors(sql: Pool): Fragment {
  return sql`
    free as materialized (
      select user_id from glimpse.streams
       where user_id in (select author_id from found where not expired and before is null)
         for no key update skip locked
    ),
    held as materialized (
      select user_id from glimpse.streams
       where user_id in (select author_id from found where not expired and before is null)
         and user_id not in (select user_id from free)
    )`
}

/** The same where nobody looks: a plain statement, because planning the search would cost a lone write a third more. */
export function noHeldAuthors(sql: Pool): Fragment {
  return sql`held as (select null as user_id where false)`
}
