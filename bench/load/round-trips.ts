import postgres from 'postgres'
import { Pool } from 'undici'
import { answerJobs, coresSince, cpuMark, sleep } from './jobs.ts'
import { type Percentiles, percentilesOf } from './percentiles.ts'
import { handshake } from './protocols.ts'
import { openStream } from './stream-socket.ts'
import { signToken } from './tokens.ts'

/**
 * `post`: POST /view → the author's stream. `insert`: an INSERT by plain SQL → the author's stream. `listen`: an
 * INSERT → the NOTIFY of the row's trigger at a LISTEN connection, which is the least that Postgres allows.
 */
export type Route = 'post' | 'insert' | 'listen'

export interface RoundTripJob {
  readonly route: Route
  readonly url: string
  readonly databaseUrl: string
  readonly authors: readonly string[]
  /** Stories of those authors, one each. */
  readonly stories: readonly string[]
  readonly rate: number
  readonly events: number
  /** Number of the first (story, viewer) pair. */
  readonly from: number
}

export interface RoundTrips {
  /** Milliseconds from just before the send to the event's arrival, in this process. */
  readonly latency: Percentiles
  readonly arrived: number
  /** From the first send to the last arrival. */
  readonly perSecond: number
  readonly failed: number
  readonly cores: number
}

interface Path {
  send(story: string, viewer: string): Promise<unknown>
  close(): Promise<void>
}

const VIEWERS = 1000
const PAIR = /"story_id"\s*:\s*"([^"]+)"\s*,\s*"viewer_id"\s*:\s*"([^"]+)"/g
const ARRIVAL_TIMEOUT_MS = 5000

async function run(job: RoundTripJob): Promise<RoundTrips> {
  const sentAt = new Map<string, number>()
  const latencies: number[] = []
  let lastAt = 0
  const arrive = (text: string) => {
    const at = performance.now()
    for (const [, story, viewer] of text.matchAll(PAIR)) {
      const key = `${story} ${viewer}`
      const sent = sentAt.get(key)
      if (sent === undefined) continue
      sentAt.delete(key)
      latencies.push(at - sent)
      lastAt = at
    }
  }
  const path = await openPath(job, arrive)
  const mark = cpuMark()
  const failed = await sendAll(job, (story, viewer) => {
    sentAt.set(`${story} ${viewer}`, performance.now())
    return path.send(story, viewer)
  })
  const deadline = performance.now() + ARRIVAL_TIMEOUT_MS
  while (sentAt.size > 0 && performance.now() < deadline) await sleep(10)
  const cores = coresSince(mark)
  await path.close()
  return {
    latency: percentilesOf(latencies),
    arrived: latencies.length,
    perSecond: (latencies.length / (lastAt - mark.at)) * 1000,
    failed,
    cores,
  }
}

/** Sends at the rate whether or not answers come, so that a slow contender cannot slow its own test down. */
async function sendAll(job: RoundTripJob, send: Path['send']): Promise<number> {
  const started = performance.now()
  const pending: Promise<unknown>[] = []
  let failed = 0
  for (let sent = 0; sent < job.events; ) {
    const due = Math.min(job.events, ((performance.now() - started) * job.rate) / 1000)
    for (; sent < due; sent += 1) {
      const pair = job.from + sent
      const viewer = pair % VIEWERS
      const story = job.stories[(Math.floor(pair / VIEWERS) + viewer) % job.stories.length] as string
      pending.push(
        send(story, `viewer_${viewer}`).catch(() => {
          failed += 1
        }),
      )
    }
    await sleep(1)
  }
  await Promise.all(pending)
  return failed
}

async function openPath(job: RoundTripJob, arrive: (text: string) => void): Promise<Path> {
  if (job.route === 'listen') {
    const sql = postgres(job.databaseUrl, { max: 20 })
    await sql.listen('story_events', arrive)
    return {
      send: (story, viewer) =>
        sql`INSERT INTO story_views (story_id, viewer_id) VALUES (${story}, ${viewer})`,
      close: () => sql.end(),
    }
  }
  const sockets = await Promise.all(
    job.authors.map((author) =>
      openStream(job.url, handshake('sse', new URL(job.url).host, { token: signToken(author) }), (bytes) =>
        arrive(bytes.toString()),
      ),
    ),
  )
  const disconnect = () => {
    for (const socket of sockets) socket.destroy()
  }
  if (job.route === 'insert') {
    const sql = postgres(job.databaseUrl, { max: 20 })
    return {
      send: (story, viewer) =>
        sql`INSERT INTO glimpse.story_views (story_id, viewer_id) VALUES (${story}, ${viewer})`,
      close: async () => {
        disconnect()
        await sql.end()
      },
    }
  }
  const pool = new Pool(job.url, { connections: 64 })
  return {
    send: async (story, viewer) => {
      const { statusCode, body } = await pool.request({
        method: 'POST',
        path: `/stories/${story}/view`,
        headers: { authorization: `Bearer ${signToken(viewer)}` },
      })
      await body.dump()
      if (statusCode !== 200) throw new Error(`POST /view gave ${statusCode}`)
    },
    close: async () => {
      disconnect()
      await pool.close()
    },
  }
}

answerJobs(run)
