import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import { Pool } from 'undici'
import { answerJobs, coresMeter, pairOf, percentilesOf } from './jobs.ts'
import { handshake, openStream, signToken } from './streams.ts'

export interface RoundTripJob {
  /**
   * `post`: POST /view → the author's stream. `insert`: an INSERT by plain SQL → the author's stream. `listen`: an
   * INSERT → the NOTIFY of the row's trigger at a LISTEN connection, which is the least that Postgres allows.
   */
  readonly route: 'post' | 'insert' | 'listen'
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

interface Path {
  send(story: string, viewer: string): Promise<unknown>
  close(): Promise<void>
}

const VIEWERS = 1000
const PAIR = /"story_id"\s*:\s*"([^"]+)"\s*,\s*"viewer_id"\s*:\s*"([^"]+)"/g
const ARRIVAL_TIMEOUT_MS = 5000

/** Latencies are milliseconds from just before the send to the event's arrival, in this process. */
async function roundTrips(job: RoundTripJob) {
  const sentAt = new Map<string, number>()
  const latencies: number[] = []
  let lastAt = 0
  const path = await openPath(job, (text) => {
    const at = performance.now()
    for (const [, story, viewer] of text.matchAll(PAIR)) {
      const sent = sentAt.get(`${story} ${viewer}`)
      if (sent === undefined) continue
      sentAt.delete(`${story} ${viewer}`)
      latencies.push(at - sent)
      lastAt = at
    }
  })
  const [cores, startedAt] = [coresMeter(), performance.now()]
  let failed = 0
  const pending: Promise<unknown>[] = []
  // At the rate whether or not answers come, so that a slow contender cannot slow its own test down.
  for (let sent = 0; sent < job.events; await sleep(1)) {
    const due = Math.min(job.events, ((performance.now() - startedAt) * job.rate) / 1000)
    for (; sent < due; sent += 1) {
      const { story, viewer } = pairOf(job.from + sent, VIEWERS, job.stories)
      sentAt.set(`${story} viewer_${viewer}`, performance.now())
      const fail = () => {
        failed += 1
      }
      pending.push(path.send(story, `viewer_${viewer}`).catch(fail))
    }
  }
  await Promise.all(pending)
  const deadline = performance.now() + ARRIVAL_TIMEOUT_MS
  while (sentAt.size > 0 && performance.now() < deadline) await sleep(10)
  const clientCores = cores()
  await path.close()
  if (latencies.length !== job.events || failed > 0)
    throw new Error(`${latencies.length} of ${job.events} events came, ${failed} sends failed`)
  // From the first send to the last arrival.
  const perSecond = (latencies.length / (lastAt - startedAt)) * 1000
  return { perSecond, ...percentilesOf(latencies), clientCores }
}

async function openPath({ route, url, ...job }: RoundTripJob, arrive: (text: string) => void): Promise<Path> {
  const open = (author: string) => {
    const shake = handshake('sse', url, { token: signToken(author) })
    return openStream(shake, (bytes) => arrive(bytes.toString()))
  }
  const streams = route === 'listen' ? [] : await Promise.all(job.authors.map(open))
  const disconnect = () => streams.forEach((stream) => void stream.destroy())
  if (route === 'post') {
    const pool = new Pool(url, { connections: 64 })
    return {
      send: async (story, viewer) => {
        const headers = { authorization: `Bearer ${signToken(viewer)}` }
        const path = `/stories/${story}/view`
        const { statusCode, body } = await pool.request({ method: 'POST', path, headers })
        await body.dump()
        if (statusCode !== 200) throw new Error(`POST /view gave ${statusCode}`)
      },
      close: () => pool.close().then(disconnect),
    }
  }
  const sql = postgres(job.databaseUrl, { max: 20 })
  if (route === 'listen') await sql.listen('story_events', arrive)
  const table = sql(route === 'insert' ? 'glimpse.story_views' : 'story_views')
  return {
    send: (story, viewer) => sql`INSERT INTO ${table} (story_id, viewer_id) VALUES (${story}, ${viewer})`,
    close: () => sql.end().then(disconnect),
  }
}

const jobs = answerJobs({ roundTrips })
export type RoundTripJobs = typeof jobs
