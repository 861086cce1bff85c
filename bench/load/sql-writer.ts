import postgres from 'postgres'
import { answerJobs, coresSince, cpuMark } from './jobs.ts'

export interface SqlWriteJob {
  readonly databaseUrl: string
  readonly stories: readonly string[]
  readonly events: number
  readonly rowsPerInsert: number
  readonly inFlight: number
  /** Rows a second; absent: as fast as Postgres takes them. */
  readonly rate?: number
  /** No two jobs of one database may share it: it keeps their viewers apart. */
  readonly prefix: string
}

export interface SqlWritten {
  /** Epoch milliseconds: just before the first INSERT was sent, and after the last COMMIT was acknowledged. */
  readonly startedAt: number
  readonly committedAt: number
  readonly cores: number
}

const now = () => performance.timeOrigin + performance.now()

/** Views in batches by plain SQL, each of a random story by a user of its own: what any other application may do. */
async function run(job: SqlWriteJob): Promise<SqlWritten> {
  const sql = postgres(job.databaseUrl, { max: job.inFlight })
  await Promise.all(Array.from({ length: job.inFlight }, () => sql`SELECT 1`))
  const mark = cpuMark()
  const startedAt = now()
  let next = 0
  const writer = async () => {
    while (next < job.events) {
      const dueAt = job.rate === undefined ? 0 : startedAt + (next / job.rate) * 1000
      const rows = Math.min(job.rowsPerInsert, job.events - next)
      const stories: string[] = []
      const viewers: string[] = []
      for (let i = 0; i < rows; i += 1) {
        stories.push(job.stories[Math.floor(Math.random() * job.stories.length)] as string)
        viewers.push(`${job.prefix}_${next + i}`)
      }
      next += rows
      if (dueAt > now()) await sleep(dueAt - now())
      await sql`
        INSERT INTO glimpse.story_views (story_id, viewer_id)
        SELECT * FROM unnest(${stories}::uuid[], ${viewers}::text[])`
    }
  }
  await Promise.all(Array.from({ length: job.inFlight }, writer))
  const committedAt = now()
  const cores = coresSince(mark)
  await sql.end()
  return { startedAt, committedAt, cores }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

answerJobs(run)
