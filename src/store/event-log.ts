import postgres from 'postgres'
import type { StreamHead, StreamPage } from '../event.ts'
import { asGlimpseError, failureKind } from '../postgres/failure.ts'
import type { Pool } from '../postgres/pool.ts'
import { BatchLoader } from './batch-loader.ts'

export const PAGE_EVENTS = 200

/**
 * Where some thousand connections open a second, four of them fell into a statement; the driver and Postgres pay for a
 * statement what ten rows cost them.
 */
const HEADS_PAUSE_MS = 2

/**
 * Reads streams, for all who ask at once. Every read rejects with a GlimpseError. How many statements run at a time
 * is bounded, so that ten thousand clients that resume at once don't take the database from the writers.
 */
export class EventLog {
  readonly #sql: Pool
  readonly #onUnreadable: (error: unknown) => void
  readonly #heads: BatchLoader<HeadRequest, AskedHead>
  readonly #pages: BatchLoader<PageRequest, StreamPage>

  /** @param onUnreadable hears why the events of a stream cannot be read, though the server can */
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

  /** @param seq the number whose event's time is asked for too; -1 for none */
  head(user: string, seq = -1): Promise<AskedHead> {
    return this.#heads.ask({ user, seq }).catch(rejectAsGlimpseError)
  }

  /** In order; undefined where that one stream cannot be read. */
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
   * The event at the seq `after` and at most `limit` after it, and at most 1 MiB of them. A stream that cannot be read,
   * because rows of it are damaged, comes as one that has lost all its events: that can be told, standing still can't.
   */
  page(user: string, after: number, limit: number = PAGE_EVENTS): Promise<StreamPage> {
    return this.#pages.ask({ user, after, limit }).catch(rejectAsGlimpseError)
  }
}

/** Damaged or impossible rows (SQLSTATE 22, 54, XX), as opposed to a server that can't serve now. */
function saysSomethingOfTheRows(error: unknown): boolean {
  if (!(error instanceof postgres.PostgresError)) return false
  return failureKind(error) === 'row' || /^(54|XX)/.test(error.code)
}

function rejectAsGlimpseError(error: unknown): never {
  throw asGlimpseError(error)
}

/** Numbers that a double holds exactly come as float8, because the driver gives an int8 as text; times are read from that. */
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
  /** The number whose event's time is asked for too; -1 for none. */
  readonly seq: number
}

/** Where a stream stands; and when the event at the number that was asked for was logged, where the log has it. */
export interface AskedHead extends StreamHead {
  readonly askedTime: number | undefined
}

/** The columns of HeadRow, of the streams `s` and the history `h`. Where 0.1 did not note a head's time, the log has it. */
const headColumns = (sql: Pool) => sql`
  h.epoch, coalesce(s.head, 0)::float8 as head, coalesce(s.oldest, 1)::float8 as oldest, coalesce(s.read, 0)::float8 as read,
  case when s.head_at is null and s.head > 0 then glimpse.logged_at(s, s.head) else glimpse.microseconds(s.head_at) end as head_time,
  glimpse.microseconds(s.trimmed_at) as trimmed_time,
  case when s.read = 0 then null
       when s.read = s.head then coalesce(glimpse.microseconds(s.head_at), glimpse.logged_at(s, s.head))
       when s.read = s.read_at_seq then glimpse.microseconds(s.read_at) end as read_time`

/**
 * Where the streams of these users stand, in order. A user without a stream has head 0. The arrays are hidden from the
 * planner, which would count their elements and find a plan for just so many anew each time.
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
  return rows.map((row) => ({ ...headOf(row), askedTime: timeOf(row.asked_time) }))
}

export interface PageRequest {
  readonly user: string
  /** The event with this seq is wanted, without its body, and those with a greater one. */
  readonly after: number
  readonly limit: number
}

/** The most bytes of events in a page, ids included; but at least one event. */
export const PAGE_MAX_BYTES = 1_048_576
/** What an event's id takes at most, with the syntax around it. */
const ID_BYTES = 64

/**
 * The next events of several streams in one statement, in the order of the requests. A page comes as one row, its events as
 * lines of one text (`seq <tab> time <tab> body`), because a row for each event costs the driver, and with it the event loop,
 * many times as much. A body has no line ends of its own: glimpse.append() takes them out.
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
  return rows.map((row) => ({ ...headOf(row), ...eventsOf(row.lines), complete: row.complete }))
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

/** What is not possible (a head, a mark or an edge out of place) was done by hand; it is read as the nearest that is. */
export function asPossible(stream: StreamHead): StreamHead {
  const head = Math.max(stream.head, 0)
  return {
    ...stream,
    head,
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
