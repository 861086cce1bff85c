import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { Cluster } from '../../bench/harness/postgres.ts'
import { alternate, type Plan } from '../../bench/harness/rounds.ts'
import { BASE, POST_TO_SSE, STEADY } from '../../bench/latency.ts'
import { replaceBetween } from '../../bench/report/markers.ts'
import { fiveNumbers, headline, page, targetsTable } from '../../bench/report/pages.ts'
import {
  loadResults,
  PARTS,
  type Results,
  saveResults,
  type Trial,
  View,
} from '../../bench/report/results.ts'
import { parseOptions, Run } from '../../bench/run.ts'
import { partResults } from '../support/bench-results.ts'

const trial = (contender: string, level: number, rounds: Trial['rounds'], faults: string[] = []): Trial => ({
  scenario: 'distinct users',
  level,
  contender,
  rounds,
  faults,
})

const writes = partResults('writes', [
  trial('Glimpse', 64, [
    { perSecond: 8000, p50Ms: 2 },
    { perSecond: 9000, p50Ms: 2 },
  ]),
  trial('one INSERT a request, http', 64, [
    { perSecond: 1000, p50Ms: 9 },
    { perSecond: 900, p50Ms: 9 },
  ]),
  trial('bare endpoint, no database', 64, [{ perSecond: 20_000, p50Ms: 1 }, null], ['it fell over']),
])

describe('replaceBetween', () => {
  const text = 'before\n<!-- figures -->\nold\n<!-- /figures -->\nafter\n'

  it('replaces what is between the markers and nothing else, as often as one likes', () => {
    const once = replaceBetween(text, 'figures', 'new | table\n')
    expect(once).toBe('before\n<!-- figures -->\nnew | table\n<!-- /figures -->\nafter\n')
    expect(replaceBetween(once, 'figures', 'new | table')).toBe(once)
  })

  it.each([
    ['none', 'before'],
    ['no end', '<!-- figures -->'],
    ['the wrong order', '<!-- /figures --> <!-- figures -->'],
    ['two', `${text}${text}`],
  ])('refuses a page that has %s', (_what, page) => {
    expect(() => replaceBetween(page, 'figures', 'new')).toThrow('needs one <!-- figures -->')
  })

  it.each(['README.md', 'docs/comparison.md'])('has its place in %s', async (path) => {
    const text = await readFile(new URL(`../../${path}`, import.meta.url), 'utf8')
    expect(replaceBetween(text, 'benchmarks', 'figures')).toContain('figures')
  })
})

describe('figures in prose', () => {
  it.each([
    ['README.md', '## Compared with'],
    ['docs/comparison.md', '## Where Glimpse is slower'],
  ])('%s quotes only what docs/benchmarks.md has', async (path, heading) => {
    const text = (name: string) => readFile(new URL(`../../${name}`, import.meta.url), 'utf8')
    const page = await text(path)
    const from = page.indexOf(heading)
    const section = page.slice(from, page.indexOf('\n## ', from + 1))
    const figures = [...section.matchAll(/\d+\.\d\d(?=×| ms)|\d+,\d{3}(?! connections)/g)].map(
      ([figure]) => figure,
    )
    expect(figures.length).toBeGreaterThan(3)
    const benchmarks = await text('docs/benchmarks.md')
    for (const figure of figures) expect(benchmarks).toContain(figure)
  })
})

describe('alternate', () => {
  const PLAN: Plan = { scenario: 's', level: 1, seconds: 1 }
  const of = (rounds: number) =>
    new Run({ options: { ...parseOptions([]), rounds }, cluster: {} as Cluster, absent: [] })

  it('leaves out rounds when they take longer than planned, for all alike, but never the first', async () => {
    vi.useFakeTimers()
    try {
      const roundsOf = async (seconds: readonly number[]) => {
        const contenders = [{ name: 'a' }, { name: 'b' }]
        const trials = await alternate(of(3), PLAN, contenders, async (_, _run, round) => {
          vi.advanceTimersByTime(1000 * (seconds[round] ?? 1))
          return { round }
        })
        return trials.map(({ rounds }) => rounds.length)
      }
      expect(await roundsOf([1, 1])).toEqual([3, 3])
      expect(await roundsOf([1, 9])).toEqual([2, 2])
      expect(await roundsOf([9, 1])).toEqual([1, 1])
    } finally {
      vi.useRealTimers()
    }
  })

  it('turns the order by one each round', async () => {
    const order: string[] = []
    const trials = await alternate(
      of(3),
      PLAN,
      [{ name: 'a' }, { name: 'b' }, { name: 'c' }],
      async ({ name }) => {
        order.push(name)
        return { order: order.length }
      },
    )
    expect(order.join('')).toBe('abcbcacab')
    expect(trials.map(({ rounds }) => rounds.map((round) => round?.order))).toEqual([
      [1, 6, 8],
      [2, 4, 9],
      [3, 5, 7],
    ])
  })

  it('keeps the rounds of a contender in place that does not take part in all', async () => {
    const contenders = [{ name: 'a' }, { name: 'b', mostRounds: 1 }]
    const trials = await alternate(of(2), PLAN, contenders, async (_, _run, round) => ({ round }))
    expect(trials.map(({ rounds }) => rounds)).toEqual([
      [{ round: 0 }, { round: 1 }],
      [{ round: 0 }, null],
    ])
  })

  it('goes on when one contender fails, keeps its rounds in place, and stops asking it in the end', async () => {
    let asked = 0
    const trials = await alternate(
      of(4),
      PLAN,
      [{ name: 'good' }, { name: 'bad' }],
      async ({ name }, _run, round) => {
        if (name === 'good') return { round }
        asked += 1
        if (round === 1) return { round }
        throw new Error('no answer')
      },
    )
    expect(trials[0]?.rounds).toHaveLength(4)
    expect(trials[1]?.rounds).toEqual([null, { round: 1 }, null, null])
    expect(trials[1]?.faults).toEqual(['no answer', 'no answer'])
    expect(asked).toBe(3)
  })

  it('ends what a measurement started before the next one begins, also where it failed', async () => {
    const log: string[] = []
    await alternate(of(1), PLAN, [{ name: 'bad' }, { name: 'good' }], async ({ name }, run) => {
      log.push(name)
      run.defer(() => log.push(`${name} ended`))
      if (name === 'bad') throw new Error('no answer')
      return {}
    })
    expect(log).toEqual(['bad', 'bad ended', 'good', 'good ended'])
  })
})

describe('results', () => {
  let root: string
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'glimpse-results-'))
  })
  afterEach(() => rm(root, { recursive: true }))

  it('keep the parts apart, so that a run of one leaves the others as they were', async () => {
    const idle = { ...trial('Glimpse SSE', 10, [{ kbPerConnection: 9 }]), scenario: 'idle' }
    await saveResults(root, writes)
    await saveResults(root, partResults('idle', [idle]))
    await saveResults(root, { ...writes, commit: 'def5678' })
    const loaded = await loadResults(root)
    const view = new View(loaded.idle)
    expect(loaded.writes?.commit).toBe('def5678')
    expect(view.row('idle', 10, 'Glimpse SSE').median('kbPerConnection')).toBe(9)
  })

  it('do not put a part without a single figure over what an earlier run measured', async () => {
    await saveResults(root, writes)
    const empty = partResults('writes', [trial('Glimpse', 64, [null], ['nothing came'])])
    expect(await saveResults(root, empty)).toBe(false)
    expect((await loadResults(root)).writes?.trials).toHaveLength(3)
  })

  it('read a figure that could not be taken as none', async () => {
    const part = partResults('writes', [trial('Glimpse', 64, [{ perSecond: 5, serverUs: Number.NaN }])])
    await saveResults(root, part)
    const view = new View((await loadResults(root)).writes)
    expect(view.row('distinct users', 64, 'Glimpse').median('serverUs')).toBeNaN()
    expect(view.row('distinct users', 64, 'Glimpse').median('perSecond')).toBe(5)
  })
})

describe('the page', () => {
  it('shows medians with spread and ratios round by round', () => {
    const text = page({ writes })
    expect(text).toContain('8,500 (8,000–9,000)')
    expect(text).toContain('9.00× (8.00–10.00)')
    expect(text).toContain('fsync=on')
    expect(text).not.toMatch(/NaN|undefined|Infinity/)
  })

  it('tells who failed and who was not there', () => {
    const text = page({ writes: { ...writes, absent: ['Pushpin: not installed'] } })
    expect(text).toContain('**bare endpoint, no database**, distinct users (64): 1 of 2 rounds')
    expect(text).toContain('it fell over')
    expect(text).toContain('Not run: Pushpin: not installed')
  })

  it('has a page and a headline for no results at all', () => {
    expect(page({})).toContain('not measured')
    for (const passage of [headline({}), fiveNumbers({})]) expect(passage).not.toMatch(/NaN|undefined/)
  })

  it('says when a part was a rehearsal', () => {
    expect(page({ writes: { ...writes, quick: true } })).toContain('a rehearsal')
  })
})

/** Wanted, measured, met. */
const target = (results: Results, what: string) =>
  targetsTable(results)
    .rows.find(([name]) => name === what)
    ?.slice(1)

describe('targets', () => {
  const rate = 'views recorded a second, 64 connections, of one INSERT a request, http'

  it('are met by the median of the ratios', () => {
    expect(target({ writes }, rate)).toEqual(['at least 4.4×', '9.00× (8.00–10.00)', 'yes'])
    const slow = partResults('writes', [
      trial('Glimpse', 64, [{ perSecond: 4000 }]),
      trial('one INSERT a request, http', 64, [{ perSecond: 1000 }]),
    ])
    expect(target({ writes: slow }, rate)).toEqual(['at least 4.4×', '4.00×', '**no**'])
    expect(target({}, rate)).toEqual(['at least 4.4×', '–', 'not measured'])
  })

  it('compare the CPU of a view without what HTTP costs both', () => {
    const cpu = (contender: string, serverUs: number, postgresUs: number) =>
      trial(contender, 64, [{ serverUs, postgresUs }])
    const measured = partResults('writes', [
      cpu('Glimpse', 30, 25),
      cpu('one INSERT a request, http', 155, 250),
      cpu('bare endpoint, no database', 15, Number.NaN),
    ])
    const what =
      "CPU of Node and Postgres a view without a bare endpoint's, 64 connections, of one INSERT a request, http"
    // (30 + 25 − 15) / (155 + 250 − 15)
    expect(target({ writes: measured }, what)).toEqual(['at most 0.14×', '0.10×', 'yes'])
  })
})

describe('the figures for README and comparison', () => {
  it('say where a peer is ahead', () => {
    const lone = (contender: string, p50Ms: number) =>
      trial(contender, 1, [{ p50Ms, perSecond: 1000 / p50Ms }])
    const measured = partResults('writes', [lone('Glimpse', 0.7), lone('one INSERT a request, http', 0.5)])
    expect(fiveNumbers({ writes: measured })).toContain('1.40× one INSERT a request, http, which is ahead')
    expect(headline({ writes })).not.toContain('which is ahead')
  })
})

describe('latency', () => {
  const steady = (perSecond: number) =>
    partResults('latency', [
      { ...trial(POST_TO_SSE, 1000, [{ perSecond: 1000, p50Ms: 3, p99Ms: 9 }]), scenario: STEADY },
      { ...trial(BASE, 1000, [{ perSecond, p50Ms: 2, p99Ms: 8 }]), scenario: STEADY },
    ])

  it('is compared with the bare way only where that keeps the rate up', () => {
    const what = `request to event at the client, 1,000 a second, p50, of ${BASE}`
    const got = (perSecond: number) => target({ latency: steady(perSecond) }, what)?.at(-1)
    expect([got(1000), got(800)]).toEqual(['yes', 'not measured'])
    expect(page({ latency: steady(800) })).toContain('bare fell behind')
    expect(headline({ latency: steady(1000) })).toContain(`1.50× ${BASE}, which is ahead`)
    expect(headline({ latency: steady(800) })).not.toContain(BASE)
  })
})

describe('parseOptions', () => {
  it('runs and writes everything by default', () => {
    expect(parseOptions([])).toMatchObject({ parts: PARTS, write: true, quick: false, rounds: 3 })
  })

  it('takes parts in their own order, and none for the report', () => {
    expect(parseOptions(['idle', 'writes']).parts).toEqual(['writes', 'idle'])
    expect(parseOptions(['report'])).toMatchObject({ parts: [], write: true })
  })

  it('keeps a rehearsal and a profiled run out of the pages unless asked', () => {
    expect(parseOptions(['--quick']).write).toBe(false)
    expect(parseOptions(['--profile', 'x']).write).toBe(false)
    expect(parseOptions(['--quick', '--write']).write).toBe(true)
    expect(parseOptions(['writes', '--no-write']).write).toBe(false)
  })

  it('refuses a part that is not there', () => {
    expect(() => parseOptions(['speed'])).toThrow('no part is called speed')
  })
})
