import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import { Pool } from 'undici'
import { cpuMsOf } from '../harness/usage.ts'
import { type Event, eventFrame, nextEvent, stampedViewer } from './events.ts'
import {
  answerJobs,
  INSERTS_IN_FLIGHT,
  INSERTS_PER_SECOND,
  inPace,
  nowMs,
  percentilesOf,
  ROWS_PER_INSERT,
} from './jobs.ts'
import { openPipelined } from './streams.ts'

/** For how long events come, to how many of the users, and how fast. */
export interface Feeding {
  readonly ms: number
  /** Events go to the first so many, at random. */
  readonly users: number
  /** Events a second; absent: as fast as they are taken. */
  readonly rate?: number
  /** sql: rows of an INSERT, and how many of those are on the way at a time; absent: by the rate, and two. */
  readonly rows?: number
  readonly inFlight?: number
  /** sql: whether a commit waits for the disk; absent: it does. */
  readonly durable?: boolean
}

export interface FeedJob extends Feeding {
  /** sql: INSERTs into Glimpse's tables. nchan: one event a POST. pushpin: several items a POST to its control port. */
  readonly source: 'sql' | keyof typeof BROKERS
  /** Of the database, or of the broker. */
  readonly url: string
  /** sql: one of each user. */
  readonly stories?: readonly string[]
}

export interface Fed {
  /** Just before the first event was sent, in `nowMs`. */
  readonly startedAt: number
  readonly events: number
  /** sql: CPU of the Postgres backends that wrote, where they run on this machine. */
  readonly backendMs?: number
  /** sql: from sending an INSERT to its answer, median. */
  readonly insertMs?: number
}

/** Views in batches by plain SQL, each by a user of its own: what any other application may do. */
async function insert({ url, ms, users, rate, stories = [], durable = true, ...job }: FeedJob): Promise<Fed> {
  const paced = rate === undefined ? ROWS_PER_INSERT : Math.max(1, Math.round(rate / INSERTS_PER_SECOND))
  const { rows = paced, inFlight = INSERTS_IN_FLIGHT } = job
  const sql = postgres(url, { max: inFlight, connection: { synchronous_commit: durable } })
  const each = <T>(work: () => Promise<T>) => Promise.all(Array.from({ length: inFlight }, work))
  const pids = await each(() => sql<[{ pid: number }]>`SELECT pg_backend_pid() AS pid`)
  const backends = [...new Set(pids.map(([{ pid }]) => pid))]
  const [before, startedAt] = [cpuMsOf(...backends), nowMs()]
  const tookMs: number[] = []
  let events = 0
  await each(async () => {
    while (nowMs() - startedAt < ms) {
      const dueAt = rate === undefined ? 0 : startedAt + (events / rate) * 1000
      const from = events
      events += rows
      if (dueAt > nowMs()) await sleep(dueAt - nowMs())
      const viewed = Array.from({ length: rows }, () => stories[Math.floor(Math.random() * users)] as string)
      const viewers = viewed.map((_, i) => stampedViewer(from + i))
      const sentAt = nowMs()
      await sql`
        INSERT INTO glimpse.story_views (story_id, viewer_id)
        SELECT * FROM unnest(${viewed}::uuid[], ${viewers}::text[])`
      tookMs.push(nowMs() - sentAt)
    }
  })
  const backendMs = cpuMsOf(...backends) - before
  await sql.end()
  return { startedAt, events, backendMs, insertMs: percentilesOf(tookMs).p50Ms }
}

const CONNECTIONS = 4
/** Events on the way on one connection: requests to Nchan, items of one POST to Pushpin. */
const BROKERS = {
  nchan: { open: openNchan, atOnce: 64 },
  pushpin: { open: openPushpin, atOnce: 25 },
}

/** A user's events keep to one connection: between two of them nothing would hold the order. */
async function publish({ open, atOnce }: (typeof BROKERS)['nchan'], job: FeedJob): Promise<Fed> {
  const { url, ms, users, rate } = job
  const publishers = Array.from({ length: CONNECTIONS }, () => open(url))
  const startedAt = nowMs()
  let events = 0
  const run = async ({ send, close }: ReturnType<typeof open>, connection: number) => {
    const next = () => {
      const nth = Math.floor((Math.random() * (users - connection)) / CONNECTIONS)
      return nextEvent(`user_${connection + CONNECTIONS * nth}`)
    }
    await inPace({ ms, rate: rate && rate / CONNECTIONS, atOnce }, (count) => {
      events += count
      return send(Array.from({ length: count }, next))
    })
    await close()
  }
  await Promise.all(publishers.map(run))
  return { startedAt, events }
}

/** `send` resolves when all of the events are answered. */
function openNchan(url: string) {
  const { send, close } = openPipelined(url)
  const post = ({ user, json }: Event) =>
    `POST /publish?user=${user} HTTP/1.1\r\nHost: nchan\r\nContent-Length: ${json.length}\r\n\r\n${json}`
  return {
    send: (events: Event[]): Promise<void> => send(events.map(post)),
    close: async (): Promise<void> => close(),
  }
}

function openPushpin(url: string): ReturnType<typeof openNchan> {
  // It closes connections now and then, and undici opens them again.
  const pool = new Pool(url, { connections: 1 })
  const send = async (events: Event[]) => {
    const formatsOf = (event: Event) => ({ 'http-stream': { content: eventFrame(event) } })
    const items = events.map((event) => ({ channel: event.user, formats: formatsOf(event) }))
    const request = { method: 'POST', path: '/publish/', body: JSON.stringify({ items }) } as const
    const { statusCode, body } = await pool.request(request)
    const text = await body.text()
    if (statusCode !== 200) throw new Error(`Pushpin answered ${statusCode}: ${text.slice(0, 200)}`)
  }
  return { send, close: () => pool.close() }
}

const jobs = answerJobs({
  feed: (job: FeedJob) => (job.source === 'sql' ? insert(job) : publish(BROKERS[job.source], job)),
})
export type FeedJobs = typeof jobs
