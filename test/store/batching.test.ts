import { setImmediate as turn } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { LockPolicy } from '../../src/postgres/lock-timeout.ts'
import { Batcher, type BatchOptions } from '../../src/store/batcher.ts'
import type { Written } from '../../src/store/write-queue.ts'
import { upTo } from '../support/sql-writer.ts'

vi.mock('node:timers/promises', async (original) => ({
  ...(await original<object>()),
  ...(await import('../support/promised-timers.ts')).promisedTimers,
}))

/** A row is `<key>` or `<key> <scope> <variant>`; its result is the row itself. */
type Options = Partial<BatchOptions<string, string>>
type Outcomes = readonly Written<string>[]

interface Statement {
  readonly rows: readonly string[]
  readonly locks: LockPolicy
  end(outcomes?: Outcomes): Promise<void>
  fail(error: unknown): Promise<void>
}

const LOCKED = Object.assign(new Error('canceling statement due to lock timeout'), { code: '55P03' })
const AWAY = Object.assign(new Error('away'), { code: '08006' })
const BAD_ROW = Object.assign(new Error('a value is too long'), { code: '22001' })

const keyOf = (row: string) => row.split(' ')[0] ?? ''
const scopeOf = (row: string) => row.split(' ')[1] ?? ''

/** A batcher whose statements end as the test says. */
class Scene {
  readonly statements: Statement[] = []
  /** Each answer as it comes: the row, and its result or the code of its error. */
  readonly answers: string[] = []
  readonly batcher: Batcher<string, string>

  constructor(options: Options = {}) {
    this.batcher = new Batcher<string, string>({
      keyOf,
      same: (a, b) => a === b,
      repeated: (result) => `${result} again`,
      write: (rows, locks) =>
        new Promise((resolve, reject) => {
          const end = async (outcomes: Outcomes = rows.map((row) => ({ result: row }))) => {
            resolve(outcomes)
            await settle()
          }
          const fail = async (error: unknown) => {
            reject(error)
            await settle()
          }
          this.statements.push({ rows, locks, end, fail })
        }),
      ...options,
    })
  }

  async submit(...rows: string[]): Promise<void> {
    for (const row of rows)
      this.batcher.submit(row).then(
        (result) => this.answers.push(result),
        ({ code, details }) => this.answers.push(`${row}: ${code}, retry after ${details.retryAfter}`),
      )
    await settle()
  }

  /** The nth statement finds the scope of each of its rows locked. */
  async hold(nth: number): Promise<void> {
    const statement = this.at(nth)
    await statement.end(statement.rows.map((row) => ({ heldScope: scopeOf(row) })))
  }

  at(nth: number): Statement {
    const statement = this.statements.at(nth)
    if (statement === undefined) throw new Error(`no statement ${nth}: ${this.statements.length}`)
    return statement
  }

  get rows(): string[] {
    return this.statements.map(({ rows }) => rows.join(', '))
  }
}

async function settle(): Promise<void> {
  for (let turns = 0; turns < 3; turns++) await turn()
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
  // A process runs for a while before anybody holds a lock.
  vi.advanceTimersByTime(60_000)
})
afterEach(() => void vi.useRealTimers())

const pass = async (ms: number) => {
  await vi.advanceTimersByTimeAsync(ms)
  await settle()
}

describe('rows', () => {
  it('are written together, waiting 30 ms for a lock, and each caller gets its own result', async () => {
    const scene = new Scene()
    await scene.submit('a', 'b')
    expect(scene.batcher.waiting).toBe(2)
    expect(scene.at(0)).toMatchObject({
      rows: ['a', 'b'],
      locks: { timeoutMs: 30, skipLocked: false, isolated: false },
    })
    await scene.at(0).end()
    expect([scene.answers, scene.batcher.waiting]).toEqual([['a', 'b'], 0])
  })

  it('go out behind a statement in flight where they are as many as its own', async () => {
    const scene = new Scene()
    await scene.submit('a', 'b', 'c')
    await scene.submit('d', 'e')
    expect(scene.rows).toEqual(['a, b, c'])
    await scene.submit('f')
    expect(scene.rows).toEqual(['a, b, c', 'd, e, f'])
  })

  it('are at most 500 in a statement', async () => {
    const scene = new Scene()
    await scene.submit(...upTo(501).map((n) => `a${n}`))
    expect(scene.at(0).rows).toHaveLength(500)
  })

  it('past the bound are refused at once, and counted', async () => {
    const onOverload = vi.fn()
    const scene = new Scene({ maxWaiting: 2, onOverload })
    await scene.submit('a', 'b', 'c')
    expect([scene.answers, scene.batcher.waiting]).toEqual([['c: overloaded, retry after 1'], 2])
    expect(onOverload).toHaveBeenCalledTimes(1)
    await scene.at(0).end()
    await scene.submit('c')
    expect(scene.rows).toEqual(['a, b', 'c'])
  })

  it('past the bound are refused where nobody counts them', async () => {
    const scene = new Scene({ maxWaiting: 0 })
    await scene.submit('a')
    expect(scene.answers).toEqual(['a: overloaded, retry after 1'])
  })

  it('that are not written within ten seconds are unavailable: they may or may not be stored', async () => {
    const scene = new Scene()
    await scene.submit('a')
    await pass(9900)
    expect(scene.answers).toEqual([])
    await pass(700)
    expect([scene.answers, scene.batcher.waiting]).toEqual([['a: unavailable, retry after 1'], 0])
    await scene.at(0).fail(AWAY)
    expect([scene.answers.length, scene.batcher.waiting]).toEqual([1, 0])
  })

  it('are looked at by one timer, however many statements there were', async () => {
    const scene = new Scene()
    for (const nth of [0, 1, 2]) {
      await scene.submit(`a${nth}`)
      await scene.at(nth).end()
    }
    expect(vi.getTimerCount()).toBe(1)
    await pass(1000)
    expect(vi.getTimerCount()).toBe(0)
  })
})

describe('the same request of several callers', () => {
  it('is written once; the first is told of the write, the others that it was there', async () => {
    const scene = new Scene()
    await scene.submit('a', 'a')
    await scene.submit('a')
    expect([scene.rows, scene.batcher.waiting]).toEqual([['a'], 3])
    await scene.at(0).end()
    expect([scene.answers, scene.batcher.waiting]).toEqual([['a', 'a again', 'a again'], 0])
  })

  it('can be joined while it is not answered, and bounded like any other', async () => {
    const scene = new Scene({ maxWaiting: 2 })
    expect(scene.batcher.join('a')).toBeUndefined()
    await scene.submit('a x first')
    expect(scene.batcher.join('a x second')).toBeUndefined()
    const joined = scene.batcher.join('a x first')
    await expect(scene.batcher.join('a x first')).rejects.toMatchObject({ code: 'overloaded' })
    await scene.at(0).end()
    expect(await joined).toBe('a x first again')
    expect(scene.batcher.join('a x first')).toBeUndefined()
    expect(scene.rows).toEqual(['a x first'])
  })

  it('fails for all of them', async () => {
    const scene = new Scene()
    await scene.submit('a', 'a')
    await scene.at(0).fail(AWAY)
    expect(scene.answers).toEqual(Array(2).fill('a: unavailable, retry after 1'))
  })

  it('is written again once the first write was answered', async () => {
    const scene = new Scene()
    await scene.submit('a')
    await scene.at(0).end()
    await scene.submit('a')
    expect(scene.rows).toEqual(['a', 'a'])
  })

  it('joins the newest of its key, also when an older one is answered meanwhile', async () => {
    const scene = new Scene()
    await scene.submit('a s 1', 'a s 2')
    await scene.at(0).end()
    await scene.submit('a s 2', 'a s 1')
    expect(scene.rows).toEqual(['a s 1', 'a s 2'])
    await scene.at(1).end()
    expect(scene.rows).toEqual(['a s 1', 'a s 2', 'a s 1'])
    await scene.at(2).end()
    expect(scene.answers).toEqual(['a s 1', 'a s 2', 'a s 2 again', 'a s 1'])
  })
})

describe('a batch that cannot get a lock', () => {
  it('is repeated at once, passing over locked rows, as are the statements of the next five seconds', async () => {
    const scene = new Scene()
    await scene.submit('a', 'b')
    await scene.at(0).fail(LOCKED)
    expect(scene.rows).toEqual(['a, b', 'a, b'])
    await scene.at(1).end()
    await pass(4999)
    await scene.submit('c')
    await scene.at(2).end()
    await pass(1)
    await scene.submit('d')
    expect(scene.statements.map(({ locks }) => locks.skipLocked)).toEqual([false, true, true, false])
  })

  it('all the same is halved, and the row that is locked itself waits apart, up to two seconds', async () => {
    const scene = new Scene()
    await scene.submit('a', 'b')
    for (const nth of [0, 1, 2]) await scene.at(nth).fail(LOCKED)
    const [, , , rest, isolated] = scene.statements
    expect(scene.rows).toEqual(['a, b', 'a, b', 'a', 'b', 'a'])
    expect(isolated?.locks).toEqual({ timeoutMs: 2000, skipLocked: false, isolated: true })
    expect(rest?.locks).toEqual({ timeoutMs: 30, skipLocked: true, isolated: false })
    await rest?.end()
    await isolated?.end()
    expect([scene.answers, scene.batcher.waiting]).toEqual([['b', 'a'], 0])
  })

  it('is answered busy where no more scopes may wait apart', async () => {
    const scene = new Scene({ maxBlockedScopes: 0, blockedTimeoutMs: 1000 })
    await scene.submit('a')
    await scene.at(0).fail(LOCKED)
    await scene.at(1).fail(LOCKED)
    expect([scene.answers, scene.batcher.waiting]).toEqual([['a: busy, retry after 1'], 0])
  })
})

describe('a row whose scope is locked', () => {
  it('waits apart with the others of its scope, in one statement at a time, while other rows are written', async () => {
    const scene = new Scene()
    await scene.submit('a s', 'b s')
    await scene.hold(0)
    expect(scene.rows).toEqual(['a s, b s', 'a s, b s'])
    expect(scene.at(1).locks).toEqual({ timeoutMs: 2000, skipLocked: false, isolated: true })
    await scene.submit('c t')
    await scene.at(2).end()
    expect([scene.answers, scene.at(2).locks.skipLocked]).toEqual([['c t'], true])
    await scene.submit(...upTo(20).map((n) => `d${n} s`))
    await scene.hold(3)
    expect(scene.statements).toHaveLength(4)
    await scene.at(1).end()
    expect(scene.at(4).rows).toHaveLength(20)
  })

  it('makes the statements of the next five seconds pass over locked rows', async () => {
    const scene = new Scene()
    await scene.submit('a s')
    await scene.hold(0)
    await scene.at(1).end()
    await pass(4999)
    await scene.submit('b t')
    await scene.at(2).end()
    await pass(1)
    await scene.submit('c t')
    expect([scene.at(2), scene.at(3)].map(({ locks }) => locks.skipLocked)).toEqual([true, false])
  })

  it('is busy if the statement that waits for it meets the lock in the end', async () => {
    const scene = new Scene()
    await scene.submit('a s', 'b s')
    await scene.hold(0)
    await scene.at(1).fail(LOCKED)
    expect(scene.answers).toEqual(['a s', 'b s'].map((row) => `${row}: busy, retry after 1`))
    expect(scene.statements).toHaveLength(2)
  })

  it('is busy after twice the time for a lock, though its statement has not ended', async () => {
    const scene = new Scene({ blockedTimeoutMs: 1000 })
    await scene.submit('a s')
    await scene.hold(0)
    await pass(1900)
    expect(scene.answers).toEqual([])
    await pass(700)
    expect(scene.answers).toEqual(['a s: busy, retry after 1'])
  })

  it('never waits longer apart than any row may', async () => {
    const scene = new Scene({ blockedTimeoutMs: 10_000, maxWaitMs: 1000 })
    await scene.submit('a s')
    await scene.hold(0)
    await pass(1600)
    expect(scene.answers).toEqual(['a s: busy, retry after 1'])
  })

  it('is one of four scopes at most that wait apart; another is tried again, and busy when its time is up', async () => {
    const scene = new Scene({ blockedTimeoutMs: 1000 })
    await scene.submit(...upTo(5).map((n) => `a${n} s${n}`))
    await scene.hold(0)
    const again = () => scene.statements.findLastIndex(({ locks }) => !locks.isolated)
    expect(scene.rows.slice(1).sort()).toEqual(['a1 s1', 'a2 s2', 'a3 s3', 'a4 s4', 'a5 s5'])
    expect(scene.at(again()).rows).toEqual(['a5 s5'])
    await pass(999)
    await scene.hold(again())
    expect([scene.at(again()).rows, scene.answers]).toEqual([['a5 s5'], []])
    await pass(10)
    await scene.hold(again())
    expect(scene.answers).toEqual(['a5 s5: busy, retry after 1'])
    const { length } = scene.statements
    await pass(100)
    expect(scene.statements).toHaveLength(length)
  })

  it('makes room for another scope when nothing of its own waits any more', async () => {
    const scene = new Scene({ maxBlockedScopes: 1 })
    await scene.submit('a s')
    await scene.hold(0)
    await scene.at(1).end()
    await scene.submit('b t')
    await scene.hold(2)
    expect(scene.at(3)).toMatchObject({ rows: ['b t'], locks: { isolated: true } })
  })

  it('is busy at once where too many wait for its scope already', async () => {
    const scene = new Scene({ maxBlockedRows: 2, maxRows: 1 })
    await scene.submit('a s', 'b s', 'c s', 'd s')
    for (const nth of [0, 1, 2, 3]) {
      const index = scene.statements.findIndex(
        ({ rows, locks }) => !locks.isolated && rows[0] === `${'abcd'[nth]} s`,
      )
      await scene.hold(index)
    }
    // One is in flight apart, two wait for it.
    expect(scene.answers).toEqual(['d s: busy, retry after 1'])
  })
})

describe('a statement that settled nothing', () => {
  it.each([
    ['each row is to be tried again', async ({ at }: Scene) => at(0).end(['again', 'again'])],
    ['it left each row out', async ({ at }: Scene) => at(0).end([])],
    [
      'it was halved, and each row is to be tried again',
      async (scene: Scene) => {
        await scene.at(0).fail(BAD_ROW)
        for (const nth of [1, 2]) await scene.at(nth).end(['again'])
      },
    ],
  ])('is followed by the next after ten milliseconds: %s', async (_, settle) => {
    const scene = new Scene()
    scene.at = scene.at.bind(scene)
    await scene.submit('a', 'b')
    await settle(scene)
    const { length } = scene.statements
    // What comes meanwhile is no reason to end the pause.
    await scene.submit('c', 'd')
    await pass(9)
    expect(scene.statements).toHaveLength(length)
    await pass(1)
    expect(scene.at(length).rows).toEqual(['a', 'b', 'c', 'd'])
    await scene.at(length).end()
    expect(scene.answers).toEqual(['a', 'b', 'c', 'd'])
  })
})

describe('a statement that settled something is followed by the next at once', () => {
  /** Two rows in flight and one that waits; what is tried after the statement has ended. */
  async function next(settle: (scene: Scene) => Promise<void>): Promise<Scene> {
    const scene = new Scene()
    await scene.submit('a', 'b')
    await scene.submit('c')
    await settle(scene)
    return scene
  }

  it('with the rows that are to be tried again', async () => {
    const scene = await next((scene) => scene.at(0).end(['again', { result: 'b' }]))
    expect([scene.answers, scene.rows]).toEqual([['b'], ['a, b', 'c, a']])
  })

  it('where the database was away: all rows are unavailable, and none is tried alone', async () => {
    const scene = await next((scene) => scene.at(0).fail(AWAY))
    expect(scene.answers).toEqual(['a: unavailable, retry after 1', 'b: unavailable, retry after 1'])
    expect(scene.rows).toEqual(['a, b', 'c'])
  })

  it('where the schema is wrong: all rows fail, and none is tried alone', async () => {
    const scene = await next((scene) =>
      scene.at(0).fail(Object.assign(new Error('no table'), { code: '42P01' })),
    )
    expect(scene.answers).toEqual([
      'a: internal, retry after undefined',
      'b: internal, retry after undefined',
    ])
    expect(scene.rows).toEqual(['a, b', 'c'])
  })

  it.each([
    ['first', 1, 2],
    ['second', 2, 1],
  ])('where it was halved, and only the %s half was written', async (_, written, other) => {
    const scene = await next(async (scene) => {
      await scene.at(0).fail(BAD_ROW)
      for (const nth of [1, 2]) await scene.at(nth).end(nth === written ? undefined : ['again'])
    })
    expect([scene.answers, scene.rows.slice(3)]).toEqual([[' ab'[written]], [`c, ${' ab'[other]}`]])
  })

  it('where it was halved, and its row was refused', async () => {
    const scene = await next(async (scene) => {
      for (const nth of [0, 1, 2]) await scene.at(nth).fail(BAD_ROW)
    })
    expect(scene.answers).toEqual([
      'a: internal, retry after undefined',
      'b: internal, retry after undefined',
    ])
    expect(scene.rows).toEqual(['a, b', 'a', 'b', 'c'])
  })

  it('where its rows now wait for their locks apart', async () => {
    const scene = await next(async (scene) => {
      for (const nth of [0, 1, 2, 3]) await scene.at(nth).fail(LOCKED)
    })
    expect(scene.statements.filter(({ locks }) => !locks.isolated).at(-1)?.rows).toEqual(['c'])
  })
})

describe('rows that are tried in halves', () => {
  it.each([
    [1990, ['a, b', 'a, b', 'a']],
    [2010, ['a, b', 'a, b']],
  ])('after %i ms, with a second for a lock: %j', async (ms, rows) => {
    const scene = new Scene({ blockedTimeoutMs: 1000 })
    await scene.submit('a', 'b')
    await pass(ms)
    for (const nth of [0, 1]) await scene.at(nth).fail(LOCKED)
    expect(scene.rows).toEqual(rows)
    expect(scene.answers).toHaveLength(rows.length === 3 ? 0 : 2)
  })

  it('apart are tried up to the same age', async () => {
    const scene = new Scene({ blockedTimeoutMs: 1000 })
    await scene.submit('a s', 'b s')
    await scene.hold(0)
    await pass(1900)
    await scene.at(1).fail(BAD_ROW)
    expect(scene.rows.slice(2)).toEqual(['a s'])
  })
})
