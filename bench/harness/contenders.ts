import type { Fed, Feeding, FeedJob, FeedJobs } from '../load/feed.ts'
import { JWT_SECRET } from '../load/streams.ts'
import type { Run } from '../run.ts'
import { commandPath, compiledPath, servicePath } from './build.ts'
import { createStories } from './postgres.ts'
import { type Server, startProgram } from './server.ts'
import { Worker } from './worker.ts'

/** A running contender. Those that keep their data in Postgres say where. */
export type Contender = Server & { readonly name: string; readonly databaseUrl?: string | undefined }

/** Starts one after the other; one that could not be started is told in the report, and the others run without it. */
export async function startEach<C extends object>(
  { absent }: Pick<Run, 'absent'>,
  starts: Readonly<Record<string, () => Promise<C>>>,
): Promise<(C & { readonly name: string })[]> {
  const contenders: (C & { readonly name: string })[] = []
  for (const [name, start] of Object.entries(starts))
    await start().then(
      (started) => contenders.push({ ...started, name }),
      (error: Error) => absent.push(`${name} could not be started: ${error.message}`),
    )
  return contenders
}

/** Glimpse as it is deployed: the compiled service, production settings, a database of its own called `database`. */
export async function startGlimpse(run: Run, database = 'bench_glimpse') {
  const databaseUrl = await run.cluster.createDatabase(database)
  return { ...(await startInstance(run, databaseUrl)), databaseUrl }
}

/** One more instance on a database. `more`: variables besides those of every contender. */
export function startInstance(run: Run, databaseUrl: string, more = {}): Promise<Server> {
  // All the load comes from one address, and more of it than the limits allow one.
  const env = { NODE_ENV: 'production', PORT: '0', DATABASE_URL: databaseUrl, JWT_SECRET, RATE_LIMIT: 'off' }
  const command = profiled(run, servicePath)
  return startProgram(run, { command, port: 'logged', env: { ...env, LOG_LEVEL: 'info', ...more } })
}

/** `glimpse relay` between a database and NATS; it waits until both are there. */
export function startRelay(run: Run, databaseUrl: string, busUrl: string): Promise<Server> {
  const env = { DATABASE_URL: databaseUrl, BUS_URL: busUrl }
  return startProgram(run, { command: profiled(run, commandPath, 'relay'), env })
}

function profiled({ options: { profile } }: Run, ...program: string[]): [string, ...string[]] {
  const profiling = profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`]
  return [process.execPath, ...profiling, ...program]
}

/** A peer of `peers/<file>.ts`, which has several: `peer` is which. */
export async function startPeer(run: Run, file: 'streams' | 'views', peer: string, databaseUrl?: string) {
  const command = [process.execPath, compiledPath(`peers/${file}.ts`)] as const
  const env = { NODE_ENV: 'production', PEER: peer, JWT_SECRET, DATABASE_URL: databaseUrl }
  return { ...(await startProgram(run, { command, port: 'logged', env })), databaseUrl }
}

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
