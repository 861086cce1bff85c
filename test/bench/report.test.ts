import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { alternate, type Plan } from '../../bench/harness/rounds.ts'
import { BASE, POST_TO_SSE, STEADY } from '../../bench/latency.ts'
import { parseOptions } from '../../bench/options.ts'
import { replaceBetween } from '../../bench/report/markers.ts'
import { page } from '../../bench/report/page.ts'
import { Progress } from '../../bench/report/progress.ts'
import { fiveNumbers, headline } from '../../bench/report/readme.ts'
import { PARTS, ResultStore, type Trial, View } from '../../bench/report/results.ts'
import { targetsOf } from '../../bench/report/targets.ts'
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
  const planned = (rounds: number, late = () => false): Plan => ({
    scenario: 's',
    level: 1,
    rounds,
    title: 't',
    seconds: 1,
    progress: {
      step: () => {},
      skip: () => {},
      get late() {
        return late()
      },
    },
  })

  it('leaves out rounds when the run is late, for all alike, but never the first', async () => {
    let asked = 0
    const contenders = [{ name: 'a' }, { name: 'b' }]
    const measure = async () => {
      asked += 1
      return { asked }
    }
    expect(
      (
        await alternate(
          contenders,
          planned(3, () => true),
          measure,
        )
      ).map(({ rounds }) => rounds.length),
    ).toEqual([1, 1])
    asked = 0
    const trials = await alternate(
      contenders,
      planned(3, () => asked > 2),
      measure,
    )
    expect(trials.map(({ rounds }) => rounds.length)).toEqual([2, 2])
  })

  it('turns the order by one each round', async () => {
    const order: string[] = []
    const trials = await alternate(
      [{ name: 'a' }, { name: 'b' }, { name: 'c' }],
      planned(3),
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

  it('goes on when one contender fails, keeps its rounds in place, and stops asking it in the end', async () => {
    let asked = 0
    const trials = await alternate(
      [{ name: 'good' }, { name: 'bad' }],
      planned(4),
      async ({ name }, round) => {
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
})

describe('Progress', () => {
  it('knows when what was begun took longer than planned', () => {
    let now = 0
    const progress = new Progress(200, () => now)
    progress.step('a', 100)
    now = 100
    progress.step('b', 100)
    expect(progress.late).toBe(false)
    now = 230
    expect(progress.late).toBe(true)
    progress.skip(50)
    expect(progress.late).toBe(false)
  })
})

describe('ResultStore', () => {
  let folder: string
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'glimpse-results-'))
  })
  afterEach(() => rm(folder, { recursive: true }))

  it('keeps the parts apart, so that a run of one leaves the others as they were', async () => {
    const store = new ResultStore((part) => join(folder, 'results', `${part}.json`))
    const idle = { ...trial('Glimpse SSE', 10, [{ kbPerConnection: 9 }]), scenario: 'idle' }
    await store.save(writes)
    await store.save(partResults('idle', [idle]))
    await store.save({ ...writes, commit: 'def5678' })
    const loaded = await store.load()
    const view = new View(loaded.idle?.trials ?? [])
    expect(loaded.writes?.commit).toBe('def5678')
    expect(view.spread('idle', 10, 'Glimpse SSE', 'kbPerConnection').median).toBe(9)
  })

  it('does not put a part without a single figure over what an earlier run measured', async () => {
    const store = new ResultStore((part) => join(folder, `${part}.json`))
    await store.save(writes)
    expect(await store.save(partResults('writes', [trial('Glimpse', 64, [null], ['nothing came'])]))).toBe(
      false,
    )
    expect((await store.load()).writes?.trials).toHaveLength(3)
  })

  it('reads a figure that could not be taken as none', async () => {
    const store = new ResultStore((part) => join(folder, `${part}.json`))
    await store.save(partResults('writes', [trial('Glimpse', 64, [{ perSecond: 5, serverUs: Number.NaN }])]))
    const view = new View((await store.load()).writes?.trials ?? [])
    expect(view.spread('distinct users', 64, 'Glimpse', 'serverUs').median).toBeNaN()
    expect(view.spread('distinct users', 64, 'Glimpse', 'perSecond').median).toBe(5)
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

describe('targets', () => {
  it('are met by the median of the ratios', () => {
    const found = (what: string) => targetsOf({ writes }).find((target) => target.what === what)
    expect(found('views/s of one INSERT a request, 64 connections')).toMatchObject({
      met: true,
      wanted: 'at least 8×',
    })
    expect(found('views/s of a bare endpoint, 64 connections')).toMatchObject({ met: false, got: '0.40×' })
    expect(found('views/s of one INSERT a request, 1,000 connections')?.met).toBeUndefined()
  })
})

describe('latency', () => {
  const steady = (perSecond: number) =>
    partResults('latency', [
      { ...trial(POST_TO_SSE, 1000, [{ perSecond: 1000, p50Ms: 3, p99Ms: 9 }]), scenario: STEADY },
      { ...trial(BASE, 1000, [{ perSecond, p50Ms: 2, p99Ms: 8 }]), scenario: STEADY },
    ])

  it('is compared with the bare way only where that keeps the rate up', () => {
    const got = (perSecond: number) => targetsOf({ latency: steady(perSecond) }).map(({ met }) => met)
    expect(got(1000)).toContain(true)
    expect(got(800)).not.toContain(true)
    expect(page({ latency: steady(800) })).toContain('bare fell behind')
    expect(headline({ latency: steady(1000) })).toContain('1.50× a bare INSERT + NOTIFY')
    expect(headline({ latency: steady(800) })).not.toContain('a bare INSERT')
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

  it.each([
    [['speed'], 'no part is called speed'],
    [['--rounds', '0'], '--rounds must be a whole number from 1 to 20'],
  ])('refuses %j', (args, message) => {
    expect(() => parseOptions(args)).toThrow(message)
  })
})
