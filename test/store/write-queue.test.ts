import { setImmediate as turn } from 'node:timers/promises'
import postgres from 'postgres'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { GlimpseError } from '../../src/errors.ts'
import { type Entry, WriteQueue, type Written } from '../../src/store/write-queue.ts'
import { upTo } from '../support/sql-writer.ts'

/** What every queue here has. */
const LIMITS = {
  maxRows: 500,
  maxAgeMs: 1000,
  maxWaitMs: 10_000,
  late: () => new GlimpseError('unavailable'),
}

/** A queue whose statements end when the test says so. */
class Scene {
  readonly statements: { readonly rows: readonly string[]; readonly end: () => void }[] = []
  readonly settled: string[] = []
  readonly queue: WriteQueue<string, string>

  constructor({ pipelined }: { pipelined: boolean }) {
    this.queue = new WriteQueue<string, string>({
      write: (rows) =>
        new Promise((resolve) => {
          const end = () => resolve(rows.map((row): Written<string> => ({ result: row })))
          this.statements.push({ rows, end })
        }),
      settle: (entry: Entry<string, string>, outcome) => {
        entry.settled = true
        this.settled.push('error' in outcome ? `${entry.row}: ${outcome.error.code}` : entry.row)
      },
      ...LIMITS,
      splitWhenBlocked: false,
      onBlocked: () => {},
      pipelined,
    })
  }

  /** Pushes rows, keyed by their first word, and lets the loop turn. */
  async push(...rows: string[]): Promise<void> {
    for (const row of rows)
      this.queue.push({
        row,
        key: row.split(' ')[0] ?? '',
        queuedAt: performance.now(),
        callers: [],
        settled: false,
      })
    await turn()
    await turn()
  }

  async end(nth: number): Promise<void> {
    this.statements[nth]?.end()
    await turn()
    await turn()
  }

  get sizes(): number[] {
    return this.statements.map(({ rows }) => rows.length)
  }
}

it('rows are answered ten seconds after they came, in flight and waiting alike, and later outcomes are told to nobody', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
  onTestFinished(() => void vi.useRealTimers())
  const scene = new Scene({ pipelined: false })
  await scene.push('a1')
  await vi.advanceTimersByTimeAsync(4000)
  await scene.push('b1', 'b2')
  await vi.advanceTimersByTimeAsync(5900)
  expect(scene.settled).toEqual([])
  await vi.advanceTimersByTimeAsync(700)
  expect(scene.settled).toEqual(['a1: unavailable'])
  await vi.advanceTimersByTimeAsync(4000)
  expect(scene.settled).toEqual(['a1: unavailable', 'b1: unavailable', 'b2: unavailable'])
  await scene.push('c1')
  await scene.end(0)
  // What nobody waits for any more is not written.
  expect(scene.statements.map(({ rows: written }) => written)).toEqual([['a1'], ['c1']])
  await scene.end(1)
  expect(scene.settled.slice(3)).toEqual(['c1'])
  expect(vi.getTimerCount()).toBeLessThanOrEqual(1)
  await vi.advanceTimersByTimeAsync(500)
  expect(vi.getTimerCount()).toBe(0)
})

const rows = (letter: string, count: number) => upTo(count).map((n) => `${letter}${n}`)

describe('while a statement is in flight', () => {
  it('as many rows go out behind it, fewer wait, and so does whatever comes then', async () => {
    const scene = new Scene({ pipelined: true })
    await scene.push(...rows('a', 40))
    await scene.push(...rows('b', 39))
    expect(scene.sizes).toEqual([40])
    await scene.push('b40')
    expect(scene.sizes).toEqual([40, 40])
    await scene.push(...rows('c', 100))
    expect(scene.sizes).toEqual([40, 40])
    await scene.end(0)
    expect(scene.sizes).toEqual([40, 40, 100])
    await scene.end(1)
    await scene.end(2)
    expect(scene.settled).toEqual([...rows('a', 40), ...rows('b', 40), ...rows('c', 100)])
  })

  it('a lone row goes out behind a lone row, and few behind many wait until it has ended', async () => {
    const scene = new Scene({ pipelined: true })
    await scene.push('a1')
    await scene.push('b1')
    expect(scene.sizes).toEqual([1, 1])
    await scene.push(...rows('c', 5))
    await scene.end(0)
    expect(scene.sizes).toEqual([1, 1, 5])
    await scene.end(1)
    await scene.push(...rows('d', 4))
    expect(scene.sizes).toEqual([1, 1, 5])
    await scene.end(2)
    expect(scene.sizes).toEqual([1, 1, 5, 4])
  })

  it('a row of a key that it writes waits, and keeps its place', async () => {
    const scene = new Scene({ pipelined: true })
    await scene.push('a1 first')
    await scene.push('a1 second', ...rows('b', 9), 'a1 third')
    expect(scene.statements.map(({ rows: written }) => written)).toEqual([['a1 first'], rows('b', 9)])
    await scene.end(1)
    expect(scene.sizes).toEqual([1, 9])
    await scene.end(0)
    expect(scene.statements[2]?.rows).toEqual(['a1 second'])
    await scene.end(2)
    expect(scene.statements[3]?.rows).toEqual(['a1 third'])
    await scene.end(3)
    expect(scene.queue.waiting).toBe(0)
  })

  it('nothing goes out in a queue that waits for a lock', async () => {
    const scene = new Scene({ pipelined: false })
    await scene.push('a1')
    await scene.push(...rows('b', 100))
    expect(scene.sizes).toEqual([1])
    await scene.end(0)
    expect(scene.sizes).toEqual([1, 100])
  })
})

describe('rows whose batch meets a lock', () => {
  it('are answered busy once they are older than a caller waits, and the young ones are tried in halves', async () => {
    const tried: (readonly string[])[] = []
    const settled = new Map<string, unknown>()
    const blocked: string[] = []
    const queue = new WriteQueue<string, string>({
      write: async (rows) => {
        tried.push(rows)
        throw Object.assign(new Error('canceling statement due to lock timeout'), { code: '55P03' })
      },
      settle: ({ row }, outcome) =>
        void settled.set(
          row,
          'error' in outcome
            ? `${outcome.error.code}, retry after ${outcome.error.details.retryAfter}`
            : 'written',
        ),
      ...LIMITS,
      splitWhenBlocked: true,
      onBlocked: (entries) => void blocked.push(...entries.map(({ row }) => row)),
      pipelined: false,
    })
    const now = performance.now()
    for (const [nth, row] of ['old1', 'young1', 'old2', 'young2'].entries())
      queue.push({ row, key: row, queuedAt: nth % 2 === 0 ? now - 2000 : now, callers: [], settled: false })
    await turn()
    await turn()
    await turn()
    expect([...settled]).toEqual([
      ['old1', 'busy, retry after 1'],
      ['old2', 'busy, retry after 1'],
    ])
    expect(blocked).toEqual(['young1', 'young2'])
    expect(tried).toEqual([['old1', 'young1', 'old2', 'young2'], ['young1'], ['young2']])
  })
})

describe('a batch under which a story was deleted', () => {
  const vanished = Object.assign(new postgres.PostgresError('gone'), {
    code: '23503',
    schema_name: 'glimpse',
  })
  const outcomesOf = async (write: (rows: readonly string[]) => Promise<Written<string>[]>) => {
    const outcomes = new Map<string, unknown>()
    const queue = new WriteQueue<string, string>({
      write,
      settle: ({ row }, outcome) =>
        void outcomes.set(row, 'error' in outcome ? outcome.error.code : outcome.result),
      ...LIMITS,
      splitWhenBlocked: true,
      onBlocked: () => {},
      pipelined: true,
    })
    for (const row of ['a', 'b', 'gone'])
      queue.push({ row, key: row, queuedAt: performance.now(), callers: [], settled: false })
    while (outcomes.size < 3) await turn()
    return Object.fromEntries(outcomes)
  }

  it('is tried again, when it sees that the story is gone', async () => {
    let statements = 0
    const outcomes = await outcomesOf(async (written) => {
      statements++
      if (statements === 1) throw vanished
      return written.map((row) => ({ result: row }))
    })
    expect([statements, outcomes]).toEqual([2, { a: 'a', b: 'b', gone: 'gone' }])
  })

  it('is tried four times in all', async () => {
    let statements = 0
    await outcomesOf(async (written) => {
      if (written.length < 3) return written.map((row) => ({ result: row }))
      statements++
      throw vanished
    })
    expect(statements).toBe(4)
  })

  it('fails for that story alone, as unknown, where it stays so', async () => {
    const outcomes = await outcomesOf(async (written) => {
      if (written.includes('gone')) throw vanished
      return written.map((row) => ({ result: row }))
    })
    expect(outcomes).toEqual({ a: 'a', b: 'b', gone: 'unknown_story' })
  })
})

it('a row that is passed over waits in the queue where nobody takes it over', async () => {
  let statements = 0
  const outcome = await new Promise((resolve) => {
    const queue = new WriteQueue<string, string>({
      write: async () => [++statements === 1 ? { heldScope: 'alice' } : { result: 'written' }],
      settle: (_, outcome) => resolve(outcome),
      ...LIMITS,
      splitWhenBlocked: false,
      onBlocked: () => {},
      pipelined: false,
    })
    queue.push({ row: 'a', key: 'a', queuedAt: performance.now(), callers: [], settled: false })
  })
  expect([outcome, statements]).toEqual([{ result: 'written' }, 2])
})
