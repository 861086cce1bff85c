import type { Fed, Feeding, FeedJob, FeedJobs } from '../load/feed.ts'
import type { Run } from '../run.ts'
import { createStories } from './postgres.ts'
import { Worker } from './worker.ts'

/** Sets off events for a contender. */
export type Feed = (feeding: Feeding) => Promise<Fed>

/** Views INSERTed by plain SQL into Glimpse's own tables; makes a story for each user first. */
export async function sqlFeed(run: Run, databaseUrl: string, users: readonly string[]): Promise<Feed> {
  return workerFeed(run, 'sql', databaseUrl, await createStories(databaseUrl, 'glimpse.stories', users))
}

/** The server makes the events itself, in memory. */
export function memoryFeed(url: string): Feed {
  return async (feeding) => {
    const signal = AbortSignal.timeout(feeding.ms + 30_000)
    const body = JSON.stringify(feeding)
    const response = await fetch(`${url}/feed`, { method: 'POST', body, signal })
    return (await response.json()) as Fed
  }
}

/** Events by a load generator: from `nchan` and `pushpin`, published by HTTP. */
export function workerFeed(run: Run, source: FeedJob['source'], url: string, stories?: string[]): Feed {
  const worker = new Worker<FeedJobs>(run, 'load/feed.ts')
  return (feeding) => worker.run('feed', { source, url, ...feeding, ...(stories && { stories }) })
}
