import type { EventRun, StreamHead } from '../event.ts'
import type { Pool } from '../postgres/pool.ts'

/** Numbers come as float8 (exact up to 2^53), because the driver gives an int8 as text. */
interface HeadRow {
  readonly epoch: string
  readonly head: number
  readonly oldest: number
  readonly read: number
}

/**
 * Where the streams of these users stand, in order. A user without a stream has head 0. The array is hidden from the
 * planner, which would count its elements and find a plan for just so many anew each time.
 */
export async function readHeads(sql: Pool, users: readonly string[]): Promise<StreamHead[]> {
  const rows = await sql<HeadRow[]>`
    select h.epoch, coalesce(s.head, 0)::float8 as head, coalesce(s.oldest, 1)::float8 as oldest,
           coalesce(s.read, 0)::float8 as read
      from (select glimpse.epoch() as epoch offset 0) h,
           unnest((select ${users as string[]}::text[])) with ordinality as i (user_id, nth)
      left join glimpse.streams s using (user_id)
     order by i.nth`
  return rows
}

export interface PageRequest {
  readonly user: string
  /** Events with a greater seq are wanted. */
  readonly after: number
  readonly limit: number
}

/** A part of a stream, with the stream's state as of the same snapshot. */
export type StreamPage = StreamHead & EventRun

/**
 * The next events of several streams in one statement, in the order of the requests; each run is dense. A page comes as
 * one row, its bodies as lines of one text (a body has no line ends of its own: glimpse.append() takes them out), because
 * a row for each event costs the driver, and with it the event loop, many times as much.
 */
export async function readPages(sql: Pool, requests: readonly PageRequest[]): Promise<StreamPage[]> {
  const rows = await sql<(HeadRow & { first: number | null; bodies: string | null })[]>`
    select h.epoch, coalesce(s.head, 0)::float8 as head, coalesce(s.oldest, 1)::float8 as oldest,
           coalesce(s.read, 0)::float8 as read,
           page.first::float8 as first, page.bodies
      from (select glimpse.epoch() as epoch offset 0) h,
           unnest(
             ${requests.map((request) => request.user)}::text[],
             ${requests.map((request) => request.after)}::bigint[],
             ${requests.map((request) => request.limit)}::int[]
           ) with ordinality as i (user_id, after, max, nth)
      left join glimpse.streams s using (user_id)
      left join lateral (
        select min(seq) as first, string_agg(body, E'\n' order by seq) as bodies
          from (
            select seq, body from glimpse.events where user_id = i.user_id and seq > i.after order by seq limit i.max
          ) e
      ) page on true
     order by i.nth`
  return rows.map(({ epoch, head, oldest, read, first, bodies }) => ({
    epoch,
    head,
    oldest,
    read,
    first: first ?? 0,
    bodies: bodies?.split('\n') ?? [],
  }))
}
