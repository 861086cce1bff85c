import postgres from 'postgres'
import type { StreamHead, StreamPage } from '../event.ts'
import { asGlimpseError, failureKind } from '../postgres/failure.ts'
import type { Pool } from '../postgres/pool.ts'
import { BatchLoader } from './batch-loader.ts'

export const PAGE_EVENTS = 200

/**
 * Without a pause, at a thousand connects per second, only four heads shared a statement. A statement costs the driver and
 * Postgres as much as ten rows.
 */
const HEADS_PAUSE_MS = 2

/**
 * Reads streams, many in one statement. Every read rejects with a GlimpseError. The number of concurrent statements is
 * bounded, so that ten thousand clients that resume at once do not slow down the writers.
 */
export class EventLog {
  readonly #sql: Pool
  readonly #onUnreadable: (error: unknown) => void
  readonly #heads: BatchLoader<HeadRequest, AskedHead>
  readonly #pages: BatchLoader<PageRequest, StreamPage>

  /** @param onUnreadable called with the error if the events of a single stream cannot be read */
  constructor(sql: Pool, onUnreadable: (error: unknown) => void = () => {}) {
    this.#sql = sql
    this.#onUnreadable = onUnreadable
    this.#heads = new BatchLoader((requests) => readHeads(sql, requests), {
      maxRequests: 1000,
      concurrency: 2,
      pauseMs: HEADS_PAUSE_MS,
      isolation: { concernsOne: saysSomethingOfTheRows, answer: (_, error) => Promise.reject(error) },
    })
    this.#pages = new BatchLoader((requests) => readPages(sql, requests), {
      maxRequests: 50,
      concurrency: 2,
      isolation: {
        concernsOne: saysSomethingOfTheRows,
        answer: async ({ user }, error) => {
          onUnreadable(error)
          const [head] = await readHeads(sql, [{ user, seq: -1 }])
          if (head === undefined) throw error
          return { ...head, seqs: [], times: [], bodies: [], complete: true }
        },
      },
    })
  }

  /** Reads that wait for their statement to be sent. */
  get waiting(): { readonly head: number; readonly page: number } {
    return { head: this.#heads.waiting, page: this.#pages.waiting }
  }

  /** @param seq also return the time of the event with this number; -1 for none */
  head(user: string, seq = -1): Promise<AskedHead> {
    return this.#heads.ask({ user, seq }).catch(rejectAsGlimpseError)
  }

  /** The heads, in order; undefined for a stream that cannot be read. */
  async heads(users: readonly string[]): Promise<(StreamHead | undefined)[]> {
    const requests = users.map((user) => ({ user, seq: -1 }))
    try {
      return await readHeads(this.#sql, requests)
    } catch (error) {
      if (!saysSomethingOfTheRows(error)) throw asGlimpseError(error)
      if (users.length === 1) {
        this.#onUnreadable(error)
        return [undefined]
      }
      const middle = users.length >> 1
      return [...(await this.heads(users.slice(0, middle))), ...(await this.heads(users.slice(middle)))]
    }
  }

  /**
   * The event with the seq `after` and at most `limit` events after it, at most 1 MiB. If rows of the stream are damaged, so
   * that it cannot be read, the page shows a stream that has lost all its events: then the client gets a reset, instead of a
   * stream that stands still.
   */
  page(user: string, after: number, limit: number = PAGE_EVENTS): Promise<StreamPage> {
    return this.#pages.ask({ user, after, limit }).catch(rejectAsGlimpseError)
  }
}

/** Whether rows are damaged or impossible (SQLSTATE 22, 54, XX), as opposed to a server that cannot serve now. */
function saysSomethingOfTheRows(error: unknown): boolean {
  if (!(error instanceof postgres.PostgresError)) return false
  return failureKind(error) === 'row' || /^(54|XX)/.test(error.code)
}

function rejectAsGlimpseError(error: unknown): never {
  throw asGlimpseError(error)
}

/** Numbers come as float8, which holds them exactly, because the driver returns int8 as a string. Times stay strings. */
interface HeadRow {
  readonly epoch: string
  readonly head: number
  readonly head_time: string | null
  readonly oldest: number
  readonly trimmed_time: string | null
  readonly read: number
  readonly read_time: string | null
}

export interface HeadRequest {
  readonly user: string
  /** Also return the time of the event with this number; -1 for none. */
  readonly seq: number
}

/** The state of a stream, and the time of the event that was asked for, if the log has it. */
export interface AskedHead extends StreamHead {
  readonly askedTime: number | undefined
}

/** The columns of HeadRow, from the streams `s` and the history `h`. 0.1 stored no time of the head; then the log has it. */
const headColumns = (sql: Pool) => sql`
  h.epoch, coalesce(s.head, 0)::float8 as head, coalesce(s.oldest, 1)::float8 as oldest, coalesce(s.read, 0)::float8 as read,
  case when s.head_at is null and s.head > 0 then glimpse.logged_at(s, s.head) else glimpse.microseconds(s.head_at) end as head_time,
  glimpse.microseconds(s.trimmed_at) as trimmed_time,
  case when s.read = 0 then null
       when s.read = s.head then coalesce(glimpse.microseconds(s.head_at), glimpse.logged_at(s, s.head))
       when s.read = s.read_at_seq then glimpse.microseconds(s.read_at) end as read_time`

/**
 * The states of these users' streams, in order. A user without a stream has head 0. The arrays come from subqueries, because
 * the planner would otherwise count their elements and plan each call anew.
 */
export async function readHeads(sql: Pool, requests: readonly HeadRequest[]): Promise<AskedHead[]> {
  const rows = await sql<(HeadRow & { asked_time: string | null })[]>`
    select ${headColumns(sql)},
           case when i.seq >= coalesce(s.oldest, 1) and i.seq < s.head then glimpse.logged_at(s, i.seq) end as asked_time
      from (select glimpse.epoch() as epoch offset 0) h,
           unnest((select ${requests.map(({ user }) => user)}::text[]), (select ${requests.map(({ seq }) => seq)}::bigint[]))
             with ordinality as i (user_id, seq, nth)
      left join glimpse.streams s using (user_id)
     order by i.nth`
  return rows.map((row) => ({ askedTime: timeOf(row.asked_time), ...headOf(row) }))
}

export interface PageRequest {
  readonly user: string
  /** Return the event with this seq, without its body, and the events after it. */
  readonly after: number
  readonly limit: number
}

/** The most bytes of events in a page, ids included. A page has at least one event. */
export const PAGE_MAX_BYTES = 1_048_576
/** The most bytes of an event's id with its JSON syntax. */
const ID_BYTES = 64

/**
 * The next events of several streams in one statement, in the order of the requests. A page comes as one row, its events as
 * lines of one text (`seq <tab> time <tab> body`), because one row per event costs the driver, and so the event loop, many
 * times as much. Bodies contain no line ends: glimpse.append() removes them.
 */
export async function readPages(sql: Pool, requests: readonly PageRequest[]): Promise<StreamPage[]> {
  const rows = await sql<(HeadRow & { lines: string | null; complete: boolean })[]>`
    select ${headColumns(sql)}, page.lines, page.complete
      from (select glimpse.epoch() as epoch offset 0) h,
           unnest(
             ${requests.map((request) => request.user)}::text[],
             ${requests.map((request) => request.after)}::bigint[],
             ${requests.map((request) => request.limit)}::int[]
           ) with ordinality as i (user_id, after, max, nth)
      left join glimpse.streams s using (user_id)
      left join lateral (
        select string_agg(seq || E'\t' || glimpse.microseconds(logged_at) || E'\t'
                            || case when seq > i.after then replace(body, E'\n', ' ') else '' end,
                          E'\n' order by seq) filter (where fits) as lines,
               count(*) <= i.max and coalesce(bool_and(fits), true) as complete
          from (
            select seq, logged_at, body,
                   seq <= i.after or count(*) filter (where seq > i.after) over before = 1
                     or sum(octet_length(body) + ${ID_BYTES}::int) filter (where seq > i.after) over before <= ${PAGE_MAX_BYTES}::int as fits
              from (
                select seq, logged_at, body from glimpse.events
                 where user_id = i.user_id and seq >= i.after order by seq limit i.max + 1
              ) e
            window before as (order by seq rows unbounded preceding)
          ) e
      ) page on true
     order by i.nth`
  return rows.map((row) => ({ complete: row.complete, ...headOf(row), ...eventsOf(row.lines) }))
}

function headOf(row: HeadRow): StreamHead {
  const { epoch, head, oldest, read } = row
  return asPossible({
    epoch,
    head,
    headTime: timeOf(row.head_time),
    oldest,
    trimmedTime: timeOf(row.trimmed_time),
    read,
    readTime: timeOf(row.read_time),
  })
}

/** Corrects impossible values (of head, read or oldest), which somebody set by hand, to the nearest possible ones. */
export function asPossible(stream: StreamHead): StreamHead {
  const head = Math.max(stream.head, 0)
  // Each field by name: for a spread with further fields after it V8 makes a new hidden class for each object, for 1 to 5 µs.
  return {
    epoch: stream.epoch,
    head,
    headTime: stream.headTime,
    oldest: Math.min(Math.max(stream.oldest, 1), head + 1),
    trimmedTime: stream.oldest > head + 1 ? undefined : stream.trimmedTime,
    read: Math.min(Math.max(stream.read, 0), head),
    readTime: stream.read > head ? stream.headTime : stream.readTime,
  }
}

function timeOf(microseconds: string | null): number | undefined {
  return microseconds === null ? undefined : Number(microseconds)
}

function eventsOf(lines: string | null): Pick<StreamPage, 'seqs' | 'times' | 'bodies'> {
  const seqs: number[] = []
  const times: number[] = []
  const bodies: string[] = []
  for (const line of lines?.split('\n') ?? []) {
    const seqEnd = line.indexOf('\t')
    const timeEnd = line.indexOf('\t', seqEnd + 1)
    seqs.push(Number(line.slice(0, seqEnd)))
    times.push(Number(line.slice(seqEnd + 1, timeEnd)))
    bodies.push(line.slice(timeEnd + 1))
  }
  return { seqs, times, bodies }
}
