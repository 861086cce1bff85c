import postgres from 'postgres'
import { nowMs } from './clock.ts'
import { answerJobs, coresSince, cpuMark, sleep } from './jobs.ts'
import { stampedViewer } from './stamp.ts'

export interface SqlWriteJob {
  readonly databaseUrl: string
  /** One of each connected user; views go to them at random. */
  readonly stories: readonly string[]
  /** How long to write, in milliseconds. */
  readonly ms: number
  readonly rowsPerInsert: number
  readonly inFlight: number
  /** Rows a second; absent: as fast as Postgres takes them. */
  readonly rate?: number
}

export interface Fed {
  /** Just before the first event was sent, in `nowMs`. */
  readonly startedAt: number
  readonly events: number
  /** Cores that this process kept busy meanwhile. */
  readonly cores: number
}

/** Views in batches by plain SQL, each by a user of its own: what any other application may do. */
async function run(job: SqlWriteJob): Promise<Fed> {
  const sql = postgres(job.databaseUrl, { max: job.inFlight })
  await Promise.all(Array.from({ length: job.inFlight }, () => sql`SELECT 1`))
  const mark = cpuMark()
  const startedAt = nowMs()
  let events = 0
  const writer = async () => {
    while (nowMs() - startedAt < job.ms) {
      const dueAt = job.rate === undefined ? 0 : startedAt + (events / job.rate) * 1000
      const from = events
      events += job.rowsPerInsert
      if (dueAt > nowMs()) await sleep(dueAt - nowMs())
      const rows = Array.from({ length: job.rowsPerInsert }, (_, i) => from + i)
      const stories = rows.map(() => job.stories[Math.floor(Math.random() * job.stories.length)] as string)
      const viewers = rows.map(stampedViewer)
      await sql`
        INSERT INTO glimpse.story_views (story_id, viewer_id)
        SELECT * FROM unnest(${stories}::uuid[], ${viewers}::text[])`
    }
  }
  await Promise.all(Array.from({ length: job.inFlight }, writer))
  const cores = coresSince(mark)
  await sql.end()
  return { startedAt, events, cores }
}

answerJobs(run)
