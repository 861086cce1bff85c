import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import { Pool } from 'undici'
import { sumCpuMs } from '../harness/usage.ts'
import { type Event, eventFrame, nextEvent, stampedViewer } from './events.ts'
import { answerJobs, nowMs, percentilesOf } from './jobs.ts'
import { INSERTS_IN_FLIGHT, INSERTS_PER_SECOND, inPace, ROWS_PER_INSERT } from './pace.ts'
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
async function insert({ url, ms, rate, stories = [], durable = true, ...job }: FeedJob): Promise<Fed> {
  const paced = rate === undefined ? ROWS_PER_INSERT : Math.max(1, Math.round(rate / INSERTS_PER_SECOND))
  const { rows = paced, inFlight = INSERTS_IN_FLIGHT } = job
  const sql = postgres(url, { max: inFlight, connection: { synchronous_commit: durable } })
  const connections = Array.from({ length: inFlight })
  const pids = await Promise.all(
    connections.map(() => sql<[{ pid: number }]>`SELECT pg_backend_pid() AS pid`),
  )
  const backends = [...new Set(pids.map(([{ pid }]) => pid))]
  const [before, startedAt] = [sumCpuMs(backends), nowMs()]
  const tookMs: number[] = []
  let events = 0
  const writer = async () => {
    while (nowMs() - startedAt < ms) {
      const dueAt = rate === undefined ? 0 : startedAt + (events / rate) * 1000
      const from = events
      events += rows
      if (dueAt > nowMs()) await sleep(dueAt - nowMs())
      const viewed = Array.from({ length: rows }, () => stories[Math.floor(Math.random() * stories.length)])
      const viewers = viewed.map((_, i) => stampedViewer(from + i))
      const sentAt = nowMs()
      await sql`
        INSERT INTO glimpse.story_views (story_id, viewer_id)
        SELECT * FROM unnest(${viewed as string[]}::uuid[], ${viewers}::text[])`
      tookMs.push(nowMs() - sentAt)
    }
  }
  await Promise.all(connections.map(writer))
  const backendMs = sumCpuMs(backends) - before
  await sql.end()
  return { startedAt, events, backendMs, insertMs: percentilesOf(tookMs).p50Ms }
}

/** One of the connections to a broker; `send` resolves when all of the events are answered. */
interface Publisher {
  send(events: readonly Event[]): Promise<void>
  close(): unknown
}

const CONNECTIONS = 4
/** Events on the way on one connection: requests to Nchan, items of one POST to Pushpin. */
const BROKERS = {
  nchan: { open: openNchan, atOnce: 64 },
  pushpin: { open: openPushpin, atOnce: 25 },
}

/** A user's events keep to one connection: between two of them nothing would hold the order. */
async function publish({ open, atOnce }: (typeof BROKERS)['nchan'], job: FeedJob): Promise<Fed> {
  const publishers = Array.from({ length: CONNECTIONS }, () => open(job.url))
  const [rate, startedAt] = [job.rate && job.rate / CONNECTIONS, nowMs()]
  let events = 0
  const run = async ({ send, close }: Publisher, connection: number) => {
    const next = () => {
      const nth = Math.floor((Math.random() * (job.users - connection)) / CONNECTIONS)
      return nextEvent(`user_${connection + CONNECTIONS * nth}`)
    }
    await inPace({ ms: job.ms, rate, atOnce }, (count) => {
      events += count
      return send(Array.from({ length: count }, next))
    })
    await close()
  }
  await Promise.all(publishers.map(run))
  return { startedAt, events }
}

function openNchan(url: string): Publisher {
  const { host } = new URL(url)
  const { send, close } = openPipelined(url)
  const post = ({ user, json }: Event) =>
    `POST /publish?user=${user} HTTP/1.1\r\nHost: ${host}\r\nContent-Length: ${json.length}\r\n\r\n${json}`
  return { send: (events) => send(events.map(post)), close }
}

function openPushpin(url: string): Publisher {
  const pool = new Pool(url, { connections: 1 })
  const item = (event: Event) => ({
    channel: event.user,
    formats: { 'http-stream': { content: eventFrame(event) } },
  })
  return {
    send: async (events) => {
      const post = JSON.stringify({ items: events.map(item) })
      const { statusCode, body } = await pool.request({ method: 'POST', path: '/publish/', body: post })
      const text = await body.text()
      if (statusCode !== 200) throw new Error(`Pushpin answered ${statusCode}: ${text.slice(0, 200)}`)
    },
    close: () => pool.close(),
  }
}

const jobs = {
  feed: (job: FeedJob) => (job.source === 'sql' ? insert(job) : publish(BROKERS[job.source], job)),
}
export type FeedJobs = typeof jobs
answerJobs(jobs)
