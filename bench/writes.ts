import { type Contender, startBare, startGlimpse, startInsertPerRequest } from './harness/contenders.ts'
import type { Cluster } from './harness/postgres.ts'
import { alternate, faultLines, type Outcome, spreadOf } from './harness/rounds.ts'
import { startAll, stopAll } from './harness/server.ts'
import { usageOf } from './harness/usage.ts'
import { Worker } from './harness/worker.ts'
import { signToken } from './load/tokens.ts'
import type { WriteJob, WriteResult } from './load/writes.ts'
import type { Options } from './options.ts'
import { numberText, spreadText, type Table } from './report/table.ts'
import type { PartRunner, Run } from './run.ts'

interface Scenario {
  readonly title: string
  readonly connections: number
  readonly kind: 'spread' | 'hot' | 'repeat'
}

/** A contender with stories to view, and the next (story, viewer) pair that it has not seen yet. */
interface Target extends Contender {
  readonly stories: readonly string[]
  readonly hotStories: readonly string[]
  nextPair: number
  nextHotPair: number
}

interface Measured extends WriteResult {
  /** CPU per request sent, microseconds. */
  readonly serverUs: number
  readonly postgresUs: number
}

const AUTHORS = 200
const STORIES_PER_AUTHOR = 5
const HOT_STORIES = 50
const VIEWERS = 10_000
/** A generator this busy is taken for the limit. */
const SATURATED = 0.9

function scenarios({ quick }: Options): Scenario[] {
  const levels = quick ? [1, 64, 1000] : [1, 16, 64, 256, 1000]
  return [
    ...levels.map((connections) => ({
      title: `distinct users, ${connections} connections`,
      connections,
      kind: 'spread' as const,
    })),
    { title: 'one hot author, 64 connections', connections: 64, kind: 'hot' },
    { title: 'repeated views, 64 connections', connections: 64, kind: 'repeat' },
  ]
}

/** `POST /stories/{id}/view` under autocannon. */
export const writes: PartRunner = {
  steps: (options) => scenarios(options).length * options.rounds * 3,
  measure: async (run) => {
    const contenders = await startAll([
      () => startGlimpse(run.cluster, run.options.profile),
      () => startInsertPerRequest(run.cluster),
      () => startBare(),
    ])
    const worker = new Worker<WriteJob, WriteResult>('load/writes.ts')
    try {
      const targets = await Promise.all(contenders.map(prepare))
      const rows: string[][] = []
      const faults: string[] = []
      for (const scenario of scenarios(run.options)) {
        const outcomes = await alternate(targets, run.options.rounds, (target) => {
          run.progress.step(`writes: ${scenario.title}, ${target.name}`)
          return measure(worker, target, scenario, run)
        })
        rows.push(...rowsOf(scenario, outcomes))
        faults.push(...faultsOf(scenario, outcomes))
      }
      return [{ title: 'Writes', note: NOTE, columns: COLUMNS, rows, faults } satisfies Table]
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
  { connections, kind }: Scenario,
  { options, cluster }: Run,
): Promise<Measured> {
  const job: WriteJob = {
    url: target.server.url,
    connections,
    warmUpMs: options.quick ? 300 : 1000,
    measureMs: options.quick ? 800 : 3000,
    stories: kind === 'hot' ? target.hotStories : target.stories,
    viewers: VIEWERS,
    pairs: kind === 'repeat' ? 'repeat' : { from: kind === 'hot' ? target.nextHotPair : target.nextPair },
  }
  const [serverBefore, postgresBefore] = cpuOf(target, cluster)
  const result = await worker.run<WriteResult>(job, job.warmUpMs + job.measureMs + 30_000)
  const [serverAfter, postgresAfter] = cpuOf(target, cluster)
  if (kind === 'spread') target.nextPair = result.nextPair
  if (kind === 'hot') target.nextHotPair = result.nextPair
  return {
    ...result,
    serverUs: ((serverAfter - serverBefore) * 1000) / result.sent,
    postgresUs: ((postgresAfter - postgresBefore) * 1000) / result.sent,
  }
}

/** CPU so far of the contender's process and, where it uses it, of Postgres, in milliseconds; NaN where unknown. */
function cpuOf({ server, databaseUrl }: Target, cluster: Cluster): [number, number] {
  return [
    usageOf(server.pid)?.cpuMs ?? Number.NaN,
    (databaseUrl === undefined ? undefined : cluster.cpuMs()) ?? Number.NaN,
  ]
}

const COLUMNS = [
  'scenario',
  'contender',
  'requests/s',
  'p50 ms',
  'p99 ms',
  'failed',
  'Glimpse is',
  'server CPU µs',
  'Postgres CPU µs',
  'generator cores',
]

const NOTE = `\`POST /stories/{id}/view\` with a verified JWT, autocannon; ${numberText(VIEWERS)} users with a token each view ${numberText(AUTHORS * STORIES_PER_AUTHOR)} stories of ${AUTHORS} authors, and but for the repeated views each request is a new (story, viewer) pair, so each makes an event. Glimpse answers after commit, with stream numbers, log and NOTIFY. The peer verifies with jose and INSERTs once per request, and its row trigger calls \`pg_notify\`; it keeps no log. The bare endpoint routes, checks a cached token and answers without a database. "Glimpse is": its median over that contender's. CPU is per request, of the contender's process and of all of Postgres. A generator at ${SATURATED} cores or more (marked *) was itself the limit: the contender can do more.`

function rowsOf(scenario: Scenario, outcomes: Map<string, Outcome<Measured>>): string[][] {
  const rate = (outcome: Outcome<Measured>) => spreadOf(outcome, (result) => result.perSecond)
  const [own] = outcomes.values()
  return [...outcomes].map(([name, outcome]) => {
    const cores = spreadOf(outcome, (result) => result.cores).median
    return [
      scenario.title,
      name,
      spreadText(rate(outcome)),
      spreadText(
        spreadOf(outcome, (result) => result.p50),
        2,
      ),
      spreadText(
        spreadOf(outcome, (result) => result.p99),
        2,
      ),
      numberText(outcome.results.reduce((sum, result) => sum + result.failed, 0)),
      own === undefined || own === outcome
        ? ''
        : `${numberText(rate(own).median / rate(outcome).median, 2)}×`,
      numberText(spreadOf(outcome, (result) => result.serverUs).median, 1),
      numberText(spreadOf(outcome, (result) => result.postgresUs).median, 1),
      `${numberText(cores, 2)}${cores >= SATURATED ? '*' : ''}`,
    ]
  })
}

function faultsOf({ title }: Scenario, outcomes: Map<string, Outcome<Measured>>): string[] {
  const unanswered = [...outcomes].flatMap(([name, { results }]) => {
    const failed = results.reduce((sum, result) => sum + result.failed, 0)
    return failed === 0 ? [] : `${title}, ${name}: ${failed} requests were not answered with 2xx`
  })
  return [...faultLines(title, outcomes), ...unanswered]
}
