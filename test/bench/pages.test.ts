import { cp, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import * as delivery from '../../bench/delivery.ts'
import * as idle from '../../bench/idle.ts'
import * as latency from '../../bench/latency.ts'
import { writePages } from '../../bench/report/pages.ts'
import { PARTS, type Part, type Results, type Trial } from '../../bench/report/results.ts'
import * as scale from '../../bench/scale.ts'
import * as storm from '../../bench/storm.ts'
import * as writes from '../../bench/writes.ts'
import { scaling } from '../../scripts/scaling/page.ts'
import { partResults, trial } from '../support/bench-results.ts'

const REPOSITORY = fileURLToPath(new URL('../../', import.meta.url))

const percentiles = { p50Ms: 2, p75Ms: 3, p90Ms: 4, p95Ms: 5, p99Ms: 9, p999Ms: 20, maxMs: 30 }
const delivered = {
  deliveriesPerSecond: 20_000,
  serverUs: 12,
  postgresUs: 30,
  clientCores: 0.2,
  missing: 0,
  walBytes: 900,
}
/** Plausible results of every part, as a run would leave them. */
const TRIALS: Readonly<Record<Part, readonly Trial[]>> = {
  writes: [writes.GLIMPSE, writes.INSERT, writes.INSERT_FASTIFY, writes.BARE].flatMap((contender) =>
    [writes.DISTINCT, writes.HOT, writes.REPEATED].flatMap((scenario) =>
      [1, 64, 1000].map((level) =>
        trial(scenario, level, contender, {
          perSecond: level * 100,
          p50Ms: 1,
          p99Ms: 9,
          serverUs: 60,
          postgresUs: 50,
          clientCores: 0.95,
        }),
      ),
    ),
  ),
  delivery: [delivery.GLIMPSE_SSE, delivery.GLIMPSE_WS, delivery.BARE_NET, delivery.NCHAN_SSE].flatMap(
    (contender) => [
      trial(delivery.EQUAL_PACE, 1000, contender, { ...delivered, ...percentiles }),
      trial(delivery.FASTEST, 1000, contender, delivered),
      trial(delivery.FASTEST, 10_000, contender, delivered),
      trial(delivery.FASTEST_3, 999, contender, delivered),
      trial(delivery.PACED, 1000, contender, { ...delivered, ...percentiles }),
    ],
  ),
  latency: [latency.BASE, latency.INSERT_TO_SSE, latency.POST_TO_SSE].flatMap((contender) =>
    [100, 1000].map((rate) =>
      trial(latency.STEADY, rate, contender, { ...percentiles, perSecond: rate * 1.1, clientCores: 0.1 }),
    ),
  ),
  idle: [idle.GLIMPSE_SSE, idle.BARE_HTTP, idle.GLIMPSE_WS, idle.BARE_WS].flatMap((contender) =>
    [1000, 10_000].map((level) =>
      trial(idle.IDLE, level, contender, { kbPerConnection: 10, connectionsPerSecond: 3000 }),
    ),
  ),
  storm: [
    trial(storm.STORM, 5000, storm.GLIMPSE_SSE, {
      completeMs: 4000,
      connectionsPerSecond: 1500,
      loopP99Ms: 60,
      loopMaxMs: 90,
      serverUs: 400,
      postgresUs: 100,
      clientCores: 0.3,
      logBytes: 420,
    }),
  ],
  scale: scale.BUSES.flatMap((bus) =>
    scale.INSTANCES.flatMap((instances) =>
      scale.ROWS.map((rows) =>
        trial(scale.COST, rows, scale.clusterName(bus, instances), {
          writerUs: 20 + 500 / rows,
          listenUs: (30 / rows) * (bus === 'LISTEN' ? instances : 1),
          postgresUs: 25 + 600 / rows + (30 / rows) * (bus === 'LISTEN' ? instances : 1),
          relayUs: bus === 'NATS' ? 15 + 50 / rows : 0,
          natsUs: bus === 'NATS' ? 6 + 30 / rows : 0,
          instancesUs: bus === 'NATS' ? 25 + 40 / rows : instances * (10 + 20 / rows),
          // One instance has nobody's events but its own users'.
          ...(instances === 1 ? {} : { hearingUs: bus === 'NATS' ? 0 : 1 + 9 / rows }),
          totalUs: 100,
          idleCores: 0.01,
          statementsPerSecond: 600,
          insertMs: 1,
          p50Ms: 2,
          p99Ms: 9,
        }),
      ),
    ),
  ),
}

const RESULTS: Results = Object.fromEntries(PARTS.map((part) => [part, partResults(part, TRIALS[part])]))

describe('the pages of a whole run', () => {
  let root: string
  let written: string[]
  const text = (path: string) => readFile(join(root, path), 'utf8')

  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'glimpse-pages-'))
    for (const path of ['README.md', join('docs', 'comparison.md'), join('docs', 'scaling.md')])
      await cp(join(REPOSITORY, path), join(root, path))
    written = await writePages(root, RESULTS, scaling(RESULTS))
  })
  afterAll(() => rm(root, { recursive: true }))

  it('are the benchmarks with their plots, the README, and the pages about peers and scaling', () => {
    expect(written).toEqual(
      expect.arrayContaining([
        'docs/benchmarks.md',
        'docs/comparison.md',
        'docs/scaling.md',
        'README.md',
        ...['writes', 'delivery', 'latency-1000', 'memory', 'scale'].map((name) => `docs/plots/${name}.svg`),
      ]),
    )
  })

  it('have a figure wherever one is due', async () => {
    for (const path of written) expect(await text(path), path).not.toMatch(/\bNaN\b|undefined|Infinity/)
  })

  it('show every plot there is', async () => {
    const page = (await text('docs/benchmarks.md')) + (await text('docs/scaling.md'))
    for (const path of written.filter((one) => one.endsWith('.svg')))
      expect(page).toContain(`(${path.replace('docs/', '')})`)
  })

  it('mark a generator that was itself the limit', async () => {
    expect(await text('docs/benchmarks.md')).toContain('0.95*')
  })

  it('say of each target whether it is met', async () => {
    const page = await text('docs/benchmarks.md')
    const targets = page.slice(page.indexOf('## Targets'), page.indexOf('## Writes'))
    expect(targets).toMatch(
      /memory a connection, SSE, 10,000 open +\| +at most 11 kB \| +10\.0 kB \(9\.0–12\.0\) \| +yes/,
    )
    expect(targets).toMatch(/opened a second, SSE, 10,000 open, of bare http .* yes/)
    // Nobody ran it.
    expect(targets).toMatch(/SSE, 10,000 connections, of socket.io, Postgres adapter .* not measured/)
    // Nchan was run, but keeps nothing.
    expect(targets).not.toContain('Nchan')
    expect(page).toMatch(/for orientation\n\n[^#]*Nchan SSE/)
  })

  it('compute the model from the figures, the same for the same', async () => {
    const page = await text('docs/scaling.md')
    // w, n, h and re are what the results have; e follows from 655 µs with a row a statement and 30 with 500.
    expect(page).toMatch(/further session that listens +\| +`w` \| +30\.0 µs/)
    expect(page).toMatch(/statement it only hears of +\| +`n` \| +9\.0 µs/)
    expect(page).toMatch(/event it only hears +\| +`h` \| +1\.0 µs/)
    expect(page).toMatch(/Postgres, for each event +\| +`e` \| +2\d\.\d µs/)
    expect(page).toMatch(/the relay, for each event +\| +`re` \| +15\.0 µs/)
    await writePages(root, RESULTS, scaling(RESULTS))
    expect(await text('docs/scaling.md')).toBe(page)
  })
})
