import { randomUUID } from 'node:crypto'
import postgres from 'postgres'
import { Pool } from 'undici'
import { type Contender, startEach, startGlimpse, startPeer } from './harness/contenders.ts'
import { createPeerDatabase, createStories } from './harness/postgres.ts'
import { alternate, progress } from './harness/rounds.ts'
import { Worker } from './harness/worker.ts'
import { percentilesOf } from './load/jobs.ts'
import { signToken } from './load/streams.ts'
import type { WriteJobs } from './load/writes.ts'
import { type BenchPart, type Claim, claimOf } from './report/part.ts'
import { seriesOf } from './report/plot.ts'
import type { Row, Trial, View } from './report/results.ts'
import { ratios } from './report/statistics.ts'
import { column, numberText, tableOf, timesText } from './report/table.ts'
import type { Run } from './run.ts'

export const GLIMPSE = 'Glimpse'
export const INSERT = 'one INSERT a request, http'
export const INSERT_FASTIFY = 'one INSERT a request, Fastify'
export const BARE = 'bare endpoint, no database'

export const DISTINCT = 'distinct users'
export const HOT = 'one hot author'
export const REPEATED = 'repeated views'
/** GET of a story; its level is 1 connection. */
const READ = 'reading a story'
const FIRST_READERS = 10
const FEW_VIEWS = 'Glimpse, a story with 10 views'
const MANY_VIEWS = 'Glimpse, a story with 1,000,000 views'

const AUTHORS = 200
const STORIES = AUTHORS * 5
const HOT_STORIES = 50
const VIEWERS = 10_000
const VIEWS_A_STATEMENT = 100_000

/** `POST /stories/{id}/view` under autocannon, and `GET /stories/{id}`. */
async function* measure(run: Run): AsyncGenerator<Trial> {
  progress.show('starting')
  const peer = async (kind: string) =>
    startPeer(run, 'views', kind, await createPeerDatabase(run.cluster, `bench_${kind}`))
  const contenders = await startEach<Omit<Contender, 'name'>>(run, {
    [GLIMPSE]: () => startGlimpse(run),
    [INSERT]: () => peer('insert'),
    // It differs from the first peer by its framework only.
    [INSERT_FASTIFY]: async () => ({ ...(await peer('fastify')), mostRounds: 2 }),
    [BARE]: () => startPeer(run, 'views', 'bare'),
  })
  const worker = new Worker<WriteJobs>(run, 'load/writes.ts')
  const targets = await Promise.all(contenders.map(prepare))
  // Left cold, whoever has more code would pay for compiling it in the first figures, those of one connection.
  progress.show('warming up')
  for (const target of targets) await write(run, worker, target, DISTINCT, 64)
  const levels = run.options.quick ? [1, 64, 1000] : [1, 16, 64, 256, 1000]
  const scenarios = [...levels.map((level) => [DISTINCT, level] as const), [HOT, 64], [REPEATED, 64]] as const
  for (const [scenario, level] of scenarios)
    yield* await alternate(run, { scenario, level, seconds: 2.2 }, targets, (target) =>
      write(run, worker, target, scenario, level),
    )
  const glimpse = targets.find(({ name }) => name === GLIMPSE)
  if (glimpse !== undefined) yield* await read(run, glimpse)
}

/** A contender with its stories, and by scenario the next (story, viewer) pair that it has not seen yet. */
type Target = Awaited<ReturnType<typeof prepare>>

async function prepare<C extends Contender>(contender: C) {
  const { name, databaseUrl } = contender
  const table = name === GLIMPSE ? 'glimpse.stories' : 'stories'
  const storiesOf = async (authors: string[]) =>
    databaseUrl === undefined ? authors.map(() => randomUUID()) : createStories(databaseUrl, table, authors)
  const stories = await storiesOf(Array.from({ length: STORIES }, (_, i) => `author_${i % AUTHORS}`))
  const hotStories = await storiesOf(Array.from({ length: HOT_STORIES }, () => 'hot_author'))
  return { ...contender, stories, hotStories, next: new Map<string, number>() }
}

async function write(run: Run, worker: Worker<WriteJobs>, target: Target, scenario: string, level: number) {
  const { quick } = run.options
  const cpu = run.cluster.cpuMeter(target)
  const { sent, failed, nextPair, figures } = await worker.run('write', {
    url: target.url,
    connections: level,
    warmUpMs: quick ? 300 : 500,
    measureMs: quick ? 700 : 1400,
    stories: scenario === HOT ? target.hotStories : target.stories,
    viewers: VIEWERS,
    from: target.next.get(scenario) ?? 0,
    repeat: scenario === REPEATED,
  })
  const used = cpu(sent)
  target.next.set(scenario, nextPair)
  if (failed > 0) throw new Error(`${failed} requests were not answered with 2xx ${target.complaints()}`)
  return { ...figures, ...used }
}

/** Two stories of one database, one request at a time. */
async function read(run: Run, glimpse: Target): Promise<Trial[]> {
  const { quick } = run.options
  progress.show('filling a story')
  const { url, databaseUrl = '' } = glimpse
  const authors = ['hot_author', 'hot_author']
  const [few = '', many = ''] = await createStories(databaseUrl, 'glimpse.stories', authors)
  const sql = postgres(databaseUrl, { max: 1 })
  const fill = (story: string, from: number, to: number) =>
    sql.begin(async (tx) => {
      await tx`SET LOCAL glimpse.quiet = on`
      await tx`INSERT INTO glimpse.story_views (story_id, viewer_id)
        SELECT ${story}, 'reader_' || n FROM generate_series(${from}::int, ${to}::int) n`
    })
  await fill(few, 1, 10)
  const views = quick ? VIEWS_A_STATEMENT : 10 * VIEWS_A_STATEMENT
  for (let from = 1; from < views; from += VIEWS_A_STATEMENT)
    await fill(many, from, from + VIEWS_A_STATEMENT - 1)
  await sql.end()
  const pool = new Pool(url, { connections: 1 })
  run.defer(() => pool.close())
  const headers = { authorization: `Bearer ${signToken('reader')}` }
  const requests = quick ? 200 : 1000
  const stories = [
    { name: FEW_VIEWS, story: few, views: 10 },
    { name: MANY_VIEWS, story: many, views },
  ]
  const ask = async ({ story, views }: (typeof stories)[number]) => {
    const sentAt = performance.now()
    const { body } = await pool.request({ method: 'GET', path: `/stories/${story}`, headers })
    const { views: got } = (await body.json()) as { views?: number }
    if (got !== views) throw new Error(`GET /stories/${story} says ${got} views, not ${views}`)
    return performance.now() - sentAt
  }
  // The first readers of a story that was filled at once count its views, and tally it step by step.
  for (let reader = 0; reader < FIRST_READERS; reader += 1) for (const story of stories) await ask(story)
  return alternate(run, { scenario: READ, level: 1, seconds: 1 }, stories, async (story) => {
    const tookMs: number[] = []
    const cpu = run.cluster.cpuMeter(glimpse)
    while (tookMs.length < requests) tookMs.push(await ask(story))
    const used = cpu(requests)
    const { p50Ms, p99Ms } = percentilesOf(tookMs)
    return { p50Ms, p99Ms, ...used }
  })
}

const TONES = { [GLIMPSE]: 'own', [INSERT]: 'peer', [INSERT_FASTIFY]: 'peer-2', [BARE]: 'bound' } as const
const RATE = column.spreads(0, { 'requests/s': 'perSecond' })
const COSTS = [
  ...column.spreads(2, { 'p50 ms': 'p50Ms', 'p99 ms': 'p99Ms' }),
  ...column.medians(0, { 'server CPU µs': 'serverUs', 'Postgres CPU µs': 'postgresUs' }),
]

export const writes: BenchPart = {
  measure,
  title: 'Writes',
  note: `\`POST /stories/{id}/view\` with a JWT, by autocannon. ${numberText(VIEWERS)} users with a token each view ${numberText(STORIES)} stories of ${AUTHORS} authors; but for the repeated views each request is a new (story, viewer) pair, so each makes an event. Glimpse answers after commit, with stream numbers, log and NOTIFY. The peers verify with jose and INSERT once per request, and their row trigger calls \`pg_notify\`; they keep no log. The bare endpoint routes, reads the body, takes the verified token from a map and answers, without a database: the ceiling.

"Glimpse is" compares round by round and takes the median of the ratios. CPU is per request: of the contender's process, and of all of Postgres. A generator at 0.9 cores or more (marked *) was itself the limit: that contender can do more. "Reading" is \`GET /stories/{id}\`, one request at a time, after the first ${FIRST_READERS}, of which some count what was filled in at once.`,
  plots: (view) => [
    {
      file: 'writes.svg',
      alt: 'Views per second against connections',
      title: 'POST /stories/{id}/view, distinct users: views per second, each answered after its commit',
      x: { label: 'connections', scale: 'steps' },
      y: { label: 'requests a second', scale: 'value' },
      series: seriesOf(TONES, view.levels(DISTINCT), (name, level) =>
        view.row(DISTINCT, level, name).spread('perSecond'),
      ),
    },
  ],
  tables: (view) => {
    const table = (scenario: string, title: string) => {
      const glimpseIs = ({ name, level }: Row) =>
        name === GLIMPSE ? '' : timesText(view.row(scenario, level, GLIMPSE).over(name, 'perSecond'))
      const columns = [
        column.name(),
        column.level('connections'),
        ...RATE,
        ['Glimpse is', glimpseIs] as const,
        ...COSTS,
      ]
      return tableOf(view.rows(scenario), [...columns, column.cores('generator cores')], title)
    }
    const reading = view.rows(READ)
    return [
      table(DISTINCT, 'Distinct users'),
      table(HOT, 'One hot author'),
      table(REPEATED, 'Repeated views'),
      ...(reading.length === 0 ? [] : [tableOf(reading, [column.name('story'), ...COSTS], 'Reading')]),
    ]
  },
  claims: (view) => {
    const own = (level: number) => view.row(DISTINCT, level, GLIMPSE)
    const rate = (level: number, wantedRatio?: number): Claim => {
      const what = `views recorded a second, ${level === 1 ? '1 connection' : `${numberText(level)} connections`}`
      return claimOf(own(level), 'perSecond', what, { peer: INSERT, wantedRatio, headline: level === 64 })
    }
    // Of the README's numbers, since a peer is ahead there.
    const lone = { digits: 2, peer: INSERT, wantedRatio: 1.25, headline: true }
    const reading = (name: string) => view.row(READ, 1, name).values(...CPU)
    return [
      claimOf(own(1), 'p50Ms', 'a lone view, p50', lone),
      rate(1),
      rate(64, 4.4),
      rate(1000, 5.4),
      cpuOfView(view, 64),
      cpuOfView(view, 1000),
      {
        what: 'CPU of Node and Postgres to GET a story with 1,000,000 views',
        better: 'less',
        ratio: ratios(reading(MANY_VIEWS), reading(FEW_VIEWS)),
        peer: 'one with 10',
        wantedRatio: 2,
      },
    ]
  },
  slower: (view) => {
    const rate = (name: string) => numberText(view.row(DISTINCT, 1, name).median('perSecond'))
    const ratioAt = (level: number) => view.row(DISTINCT, level, GLIMPSE).over(INSERT, 'perSecond').median
    if (!(ratioAt(1) < 1)) return []
    const from = view.levels(DISTINCT).find((level) => ratioAt(level) > 1) ?? Number.NaN
    const lone = `**A lone view.** With one request at a time Glimpse records ${rate(GLIMPSE)} views a second, and a server with one INSERT for each request ${rate(INSERT)} (${numberText(ratioAt(1), 2)}×).`
    const turn = ` With ${numberText(from)} concurrent requests or more, Glimpse records more (${numberText(ratioAt(from), 2)}×), because requests share a statement.`
    return [Number.isNaN(from) ? lone : lone + turn]
  },
}

const CPU = ['serverUs', 'postgresUs']

/** What HTTP itself costs is the same for both, so it says nothing about either. */
function cpuOfView(view: View, level: number): Claim {
  const bare = view.row(DISTINCT, level, BARE).values('serverUs')
  const cpu = (name: string) => {
    const all = view.row(DISTINCT, level, name).values(...CPU)
    return all.map((us, round) => us - (bare[round] ?? Number.NaN))
  }
  return {
    what: `CPU of Node and Postgres a view without a bare endpoint's, ${numberText(level)} connections`,
    better: 'less',
    ratio: ratios(cpu(GLIMPSE), cpu(INSERT)),
    peer: INSERT,
    wantedRatio: 1 / 7,
  }
}
