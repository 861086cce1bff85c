import { startGlimpse } from './harness/contenders.ts'
import { createPeerDatabase, createStories } from './harness/postgres.ts'
import { alternate } from './harness/rounds.ts'
import { Worker } from './harness/worker.ts'
import type { RoundTripJobs } from './load/round-trips.ts'
import { type BenchPart, claimOf } from './report/part.ts'
import { seriesOf } from './report/plot.ts'
import type { Trial, View } from './report/results.ts'
import { spread } from './report/statistics.ts'
import { type Column, column, numberText, tableOf } from './report/table.ts'
import type { Run } from './run.ts'

export const STEADY = 'steady rate'
export const BASE = 'bare INSERT + NOTIFY → LISTEN'
export const INSERT_TO_SSE = 'Glimpse, INSERT → SSE'
export const POST_TO_SSE = 'Glimpse, POST → SSE'

const AUTHORS = 100
const authors = Array.from({ length: AUTHORS }, (_, i) => `author_${i}`)
export const RATES = [100, 1000]

/** From the request to the event at the client, at a steady rate. */
async function* measure(run: Run): AsyncGenerator<Trial> {
  const bareUrl = await createPeerDatabase(run.cluster, 'bench_listen')
  const bareStories = await createStories(bareUrl, 'stories', authors)
  const { url, databaseUrl } = await startGlimpse(run)
  const stories = await createStories(databaseUrl, 'glimpse.stories', authors)
  // The next (story, viewer) pair is shared by the ways of one database.
  const own = { url, databaseUrl, stories, pairs: { next: 0 } }
  const bare = { url: '', databaseUrl: bareUrl, stories: bareStories, pairs: { next: 0 } }
  const ways = [
    { name: BASE, route: 'listen', ...bare },
    { name: INSERT_TO_SSE, route: 'insert', ...own },
    { name: POST_TO_SSE, route: 'post', ...own },
  ] as const
  const worker = new Worker<RoundTripJobs>(run, 'load/round-trips.ts')
  for (const rate of RATES) {
    const plan = { scenario: STEADY, level: rate, seconds: 3.5 }
    yield* await alternate(run, plan, ways, ({ pairs, ...way }) => {
      const events = rate * (run.options.quick ? 2 : 3)
      const from = pairs.next
      pairs.next += events
      return worker.run('roundTrips', { ...way, authors, rate, events, from })
    })
  }
}

const TONES = { [POST_TO_SSE]: 'own', [INSERT_TO_SSE]: 'own-2', [BASE]: 'bound' } as const
const PERCENTILES = ['p50', 'p75', 'p90', 'p95', 'p99', 'p99.9']
const figureOf = (percentile = '') => `${percentile.replace('.', '')}Ms`

/** Where the bare way cannot keep the rate up, its latency is a queue's, and a ratio to it says nothing. */
function bareKeepsUp(view: View, rate: number): boolean {
  return view.row(STEADY, rate, BASE).median('perSecond') > rate * 0.95
}

export const latency: BenchPart = {
  measure,
  title: 'Latency',
  note: `From just before the send to the event's arrival in the same process, single views sent at a steady rate whether or not answers come, to ${AUTHORS} connected authors. The bare way is an INSERT with a row trigger that calls \`pg_notify\`, heard on a LISTEN connection: no log, no numbers, no HTTP; the least that Postgres allows. Where "arrived/s" is below the rate, that way cannot keep it up and its latency is a queue's. Both SQL ways send over up to 20 connections, POST over up to 64.`,
  plots: (view) =>
    view.levels(STEADY).map((rate) => ({
      file: `latency-${rate}.svg`,
      alt: `Latency percentiles at ${numberText(rate)} events a second`,
      title: `From the request to the event at the client, ${numberText(rate)} single views a second`,
      x: { label: 'percentile', scale: 'steps', tick: (i) => PERCENTILES[i] ?? '' },
      y: { label: 'milliseconds, logarithmic', scale: 'log' },
      series: seriesOf(TONES, [...PERCENTILES.keys()], (name, i) =>
        view.row(STEADY, rate, name).spread(figureOf(PERCENTILES[i])),
      ),
    })),
  tables: (view) => {
    const ofBare = (title: string, figure: string): Column => {
      const [, times] = column.times(title, figure, () => BASE)
      const fair = (level: number, name: string) => name === BASE || bareKeepsUp(view, level)
      return [title, (row) => (fair(row.level, row.name) ? times(row) : 'bare fell behind')]
    }
    const columns: Column[] = [
      column.name('way'),
      ['rate', ({ level }) => `${numberText(level)}/s`],
      ...column.spreads(0, { 'arrived/s': 'perSecond' }),
      ...column.spreads(2, { 'p50 ms': 'p50Ms', 'p99 ms': 'p99Ms' }),
      ...column.spreads(1, { 'max ms': 'maxMs' }),
      ofBare('p50 of bare', 'p50Ms'),
      ofBare('p99 of bare', 'p99Ms'),
      column.cores('sender cores'),
    ]
    return [tableOf(view.rows(STEADY), columns)]
  },
  claims: (view) =>
    (['p50', 'p99'] as const).map((name) => {
      const wanted = { peer: BASE, wantedRatio: name === 'p50' ? 1.5 : 0.3, headline: name === 'p50' }
      const what = `request to event at the client, 1,000 a second, ${name}`
      const claim = claimOf(view.row(STEADY, 1000, POST_TO_SSE), `${name}Ms`, what, wanted)
      return bareKeepsUp(view, 1000) ? claim : { ...claim, ratio: spread([]) }
    }),
  slower: (view) => {
    const figures = view.levels(STEADY).flatMap((level) => {
      const [own, bare] = [POST_TO_SSE, BASE].map((name) => view.row(STEADY, level, name).median('p50Ms'))
      if (own === undefined || bare === undefined || !(own > bare)) return []
      return `at ${numberText(level)} a second ${numberText(own, 2)} ms, a bare INSERT + NOTIFY ${numberText(bare, 2)} ms`
    })
    return figures.length === 0 ? [] : [`**From request to event**, p50: ${figures.join('; ')}.`]
  },
}
