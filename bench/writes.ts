import {
  type Contender,
  startEach,
  startGlimpse,
  startInsertPerRequest,
  startPeer,
  stopAll,
} from './harness/contenders.ts'
import type { Cluster } from './harness/postgres.ts'
import { alternate } from './harness/rounds.ts'
import { usageOf } from './harness/usage.ts'
import { Worker } from './harness/worker.ts'
import { JWT_SECRET, signToken } from './load/tokens.ts'
import type { WriteJob, WriteResult } from './load/writes.ts'
import type { Options } from './options.ts'
import type { Figures, Trial } from './report/results.ts'
import type { PartRunner, Run } from './run.ts'

export const GLIMPSE = 'Glimpse'
export const INSERT = 'one INSERT a request, http'
export const INSERT_FASTIFY = 'one INSERT a request, Fastify'
export const BARE = 'bare endpoint, no database'

export const DISTINCT = 'distinct users'
export const HOT = 'one hot author'
export const REPEATED = 'repeated views'

interface Scenario {
  readonly scenario: typeof DISTINCT | typeof HOT | typeof REPEATED
  /** Connections. */
  readonly level: number
}

/** A contender with stories to view, and the next (story, viewer) pair that it has not seen yet. */
interface Target extends Contender {
  readonly stories: readonly string[]
  readonly hotStories: readonly string[]
  nextPair: number
  nextHotPair: number
}

export const AUTHORS = 200
const STORIES_PER_AUTHOR = 5
export const STORIES = AUTHORS * STORIES_PER_AUTHOR
const HOT_STORIES = 50
export const VIEWERS = 10_000
const CONTENDERS = 4
const WARM_UP: Scenario = { scenario: DISTINCT, level: 64 }
/** Planned, for one measurement and for starting all. */
const SECONDS = 2.2
const START_SECONDS = 8

function scenarios({ quick }: Options): Scenario[] {
  const levels = quick ? [1, 64, 1000] : [1, 16, 64, 256, 1000]
  return [
    ...levels.map((level): Scenario => ({ scenario: DISTINCT, level })),
    { scenario: HOT, level: 64 },
    { scenario: REPEATED, level: 64 },
  ]
}

/** `POST /stories/{id}/view` under autocannon. */
export const writes: PartRunner = {
  seconds: (options) =>
    START_SECONDS + CONTENDERS * SECONDS * (1 + scenarios(options).length * options.rounds),
  measure: async (run) => {
    run.progress.step('writes: starting', START_SECONDS)
    const { contenders, absent } = await startEach<Contender>({
      [GLIMPSE]: () => startGlimpse(run.cluster, run.options.profile),
      [INSERT]: () => startInsertPerRequest(run.cluster, INSERT, 'insert-per-request'),
      [INSERT_FASTIFY]: () => startInsertPerRequest(run.cluster, INSERT_FASTIFY, 'insert-fastify'),
      [BARE]: () => startPeer(BARE, 'bare', { JWT_SECRET }),
    })
    const worker = new Worker<WriteJob, WriteResult>('load/writes.ts')
    try {
      const targets = await Promise.all(contenders.map(prepare))
      // Left cold, whoever has more code would pay for compiling it in the first figures, those of one connection.
      run.progress.step('writes: warming up', CONTENDERS * SECONDS)
      for (const target of targets) await measure(worker, target, WARM_UP, run)
      const trials: Trial[] = []
      for (const scenario of scenarios(run.options)) {
        const plan = {
          ...scenario,
          rounds: run.options.rounds,
          title: `writes: ${scenario.scenario}, ${scenario.level} connections`,
          seconds: SECONDS,
          progress: run.progress,
        }
        trials.push(...(await alternate(targets, plan, (target) => measure(worker, target, scenario, run))))
      }
      return { trials, absent }
    } finally {
      worker.stop()
      await stopAll(contenders)
    }
  },
}

async function prepare(contender: Contender): Promise<Target> {
  const stories: string[] = []
  for (let i = 0; i < STORIES_PER_AUTHOR; i += 1)
    for (let author = 0; author < AUTHORS; author += 1)
      stories.push(await createStory(contender, `author_${author}`))
  const hotStories: string[] = []
  for (let i = 0; i < HOT_STORIES; i += 1) hotStories.push(await createStory(contender, 'hot_author'))
  return { ...contender, stories, hotStories, nextPair: 0, nextHotPair: 0 }
}

async function createStory({ name, server }: Contender, author: string): Promise<string> {
  const response = await fetch(`${server.url}/stories`, {
    method: 'POST',
    headers: { authorization: `Bearer ${signToken(author)}`, 'content-type': 'application/json' },
    body: '{}',
  })
  if (response.status !== 201)
    throw new Error(`${name}: POST /stories gave ${response.status}: ${await response.text()}`)
  return ((await response.json()) as { id: string }).id
}

async function measure(
  worker: Worker<WriteJob, WriteResult>,
  target: Target,
  { level, scenario }: Scenario,
  { options, cluster }: Run,
): Promise<Figures> {
  const job: WriteJob = {
    url: target.server.url,
    connections: level,
    warmUpMs: options.quick ? 300 : 500,
    measureMs: options.quick ? 700 : 1400,
    stories: scenario === HOT ? target.hotStories : target.stories,
    viewers: VIEWERS,
    pairs:
      scenario === REPEATED ? 'repeat' : { from: scenario === HOT ? target.nextHotPair : target.nextPair },
  }
  const [serverBefore, postgresBefore] = cpuOf(target, cluster)
  const result = await worker.run<WriteResult>(job, job.warmUpMs + job.measureMs + 30_000)
  const [serverAfter, postgresAfter] = cpuOf(target, cluster)
  if (scenario === DISTINCT) target.nextPair = result.nextPair
  if (scenario === HOT) target.nextHotPair = result.nextPair
  if (result.failed > 0)
    throw new Error(`${result.failed} requests were not answered with 2xx ${target.server.complaints()}`)
  return {
    perSecond: result.perSecond,
    p50Ms: result.p50,
    p99Ms: result.p99,
    serverUs: ((serverAfter - serverBefore) * 1000) / result.sent,
    postgresUs: ((postgresAfter - postgresBefore) * 1000) / result.sent,
    clientCores: result.cores,
  }
}

/** CPU so far of the contender's process and, where it uses it, of Postgres, in milliseconds; NaN where unknown. */
function cpuOf({ server, databaseUrl }: Target, cluster: Cluster): [number, number] {
  return [
    usageOf(server.pid)?.cpuMs ?? Number.NaN,
    (databaseUrl === undefined ? undefined : cluster.cpuMs()) ?? Number.NaN,
  ]
}
