import postgres from 'postgres'
import type { PublishJob } from '../load/publisher.ts'
import type { Fed, SqlWriteJob } from '../load/sql-writer.ts'
import { Worker } from './worker.ts'

/** For how long events come, to how many of the users, and how fast. */
export interface Feeding {
  readonly ms: number
  /** Events go to the first so many, at random. */
  readonly users: number
  /** Events a second; absent: as fast as it goes. */
  readonly rate?: number
}

/** Sets off events for a contender. */
export interface Feed {
  run(feeding: Feeding): Promise<Fed>
  stop(): void
}

/** Rows of an INSERT where it goes as fast as it can, and INSERTs a second where it is paced. */
export const ROWS_PER_INSERT = 500
export const INSERTS_PER_SECOND = 200
export const INSERTS_IN_FLIGHT = 2
const PATIENCE_MS = 30_000

/** Views INSERTed by plain SQL into Glimpse's own tables; makes a story for each user first. */
export async function sqlFeed(databaseUrl: string, users: readonly string[]): Promise<Feed> {
  const sql = postgres(databaseUrl, { max: 1 })
  const rows = await sql<{ id: string; author_id: string }[]>`
    INSERT INTO glimpse.stories (author_id) SELECT * FROM unnest(${[...users]}::text[]) RETURNING id, author_id`
  await sql.end()
  const storyOf = new Map(rows.map(({ id, author_id }) => [author_id, id]))
  const stories = users.map((user) => storyOf.get(user) as string)
  const worker = new Worker<SqlWriteJob, Fed>('load/sql-writer.ts')
  return {
    run: ({ ms, users: count, rate }) =>
      worker.run<Fed>(
        {
          databaseUrl,
          stories: stories.slice(0, count),
          ms,
          inFlight: INSERTS_IN_FLIGHT,
          rowsPerInsert:
            rate === undefined ? ROWS_PER_INSERT : Math.max(1, Math.round(rate / INSERTS_PER_SECOND)),
          ...(rate === undefined ? {} : { rate }),
        },
        ms + PATIENCE_MS,
      ),
    stop: () => worker.stop(),
  }
}

/** The server makes the events itself, in memory. `end`: what else is to be stopped. */
export function memoryFeed(url: string, end: () => unknown = () => {}): Feed {
  return {
    run: async ({ ms, users, rate }) => {
      const query = new URLSearchParams({
        ms: String(ms),
        users: String(users),
        ...(rate ? { rate: String(rate) } : {}),
      })
      const response = await fetch(`${url}/feed?${query}`, {
        method: 'POST',
        signal: AbortSignal.timeout(ms + PATIENCE_MS),
      })
      return (await response.json()) as Fed
    },
    stop: () => void end(),
  }
}

/** Events published to a broker by HTTP. */
export function publisherFeed(broker: PublishJob['broker'], url: string): Feed {
  const worker = new Worker<PublishJob, Fed>('load/publisher.ts')
  return {
    run: (feeding) => worker.run<Fed>({ broker, url, ...feeding }, feeding.ms + PATIENCE_MS),
    stop: () => worker.stop(),
  }
}
