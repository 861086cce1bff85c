import type { EventRun, StreamHead } from '../event.ts'
import type { Pool } from './pool.ts'

/** Numbers come as float8 (exact up to 2^53), because the driver gives an int8 as text. */
interface HeadRow {
  readonly epoch: string
  readonly head: number
  readonly oldest: number
  readonly read: number
}

/** Where the streams of these users stand, in order. A user without a stream has head 0. */
export async function readHeads(sql: Pool, users: readonly string[]): Promise<StreamHead[]> {
  const rows = await sql<HeadRow[]>`
    select h.epoch, coalesce(s.head, 0)::float8 as head, coalesce(s.oldest, 1)::float8 as oldest,
           coalesce(s.read, 0)::float8 as read
      from (select glimpse.epoch() as epoch offset 0) h,
           unnest(${users as string[]}::text[]) with ordinality as i (user_id, nth)
      left join glimpse.streams s using (user_id)
     order by i.nth`
  return rows.map(({ epoch, head, oldest, read }) => ({ epoch, head, oldest, read }))
}

export interface PageRequest {
  readonly user: string
  /** Events with a greater seq are wanted. */
  readonly after: number
  readonly limit: number
}

/** A part of a stream, with the stream's state as of the same snapshot. */
export type StreamPage = StreamHead & EventRun

/** The next events of several streams in one statement, in the order of the requests; each run is dense. */
export async function readPages(sql: Pool, requests: readonly PageRequest[]): Promise<StreamPage[]> {
  const rows = await sql<(HeadRow & { nth: number; seq: number | null; body: string | null })[]>`
    select h.epoch, coalesce(s.head, 0)::float8 as head, coalesce(s.oldest, 1)::float8 as oldest,
           coalesce(s.read, 0)::float8 as read,
           i.nth::int as nth, e.seq::float8 as seq, e.body
      from (select glimpse.epoch() as epoch offset 0) h,
           unnest(
             ${requests.map((request) => request.user)}::text[],
             ${requests.map((request) => request.after)}::bigint[],
             ${requests.map((request) => request.limit)}::int[]
           ) with ordinality as i (user_id, after, max, nth)
      left join glimpse.streams s using (user_id)
      left join lateral (
        select seq, body from glimpse.events where user_id = i.user_id and seq > i.after order by seq limit i.max
      ) e on true
     order by i.nth, e.seq`
  const pages: (StreamHead & { first: number; bodies: string[] })[] = []
  for (const { epoch, head, oldest, read, nth, seq, body } of rows) {
    let page = pages[nth - 1]
    if (page === undefined) {
      page = { epoch, head, oldest, read, first: seq ?? 0, bodies: [] }
      pages[nth - 1] = page
    }
    if (body !== null) page.bodies.push(body)
  }
  return pages
}
