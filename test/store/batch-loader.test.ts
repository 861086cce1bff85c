import { setImmediate as turn } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { BatchLoader } from '../../src/store/batch-loader.ts'
import { upTo } from '../support/sql-writer.ts'

type Options = ConstructorParameters<typeof BatchLoader<string, string>>[1]

/** A loader whose statements are recorded, and answered by each request's own text in capitals. */
function recorded(options: Partial<Options> = {}) {
  const statements: (readonly string[])[] = []
  const loader = new BatchLoader(
    async (requests: readonly string[]) => {
      statements.push(requests)
      return requests.map((request) => request.toUpperCase())
    },
    { maxRequests: 100, concurrency: 2, ...options },
  )
  return { loader, statements }
}

/** A loader whose statements end when the test says so. */
function held(options: Partial<Options> = {}) {
  const statements: { readonly size: number; readonly end: () => Promise<void> }[] = []
  const loader = new BatchLoader<string, string>(
    (requests) =>
      new Promise((resolve) => {
        const end = async () => {
          resolve(requests)
          await settle()
        }
        statements.push({ size: requests.length, end })
      }),
    { maxRequests: 100, concurrency: 2, ...options },
  )
  const answered: string[] = []
  return {
    loader,
    statements,
    answered,
    get sizes() {
      return statements.map(({ size }) => size)
    },
    ask: async (count: number) => {
      for (const n of upTo(count)) void loader.ask(`r${n}`).then((response) => answered.push(response))
      await settle()
    },
  }
}

async function settle(): Promise<void> {
  await turn()
  await turn()
}

describe('requests of one turn of the event loop', () => {
  it('share a statement, and each gets its own answer', async () => {
    const { loader, statements } = recorded()
    const answers = Promise.all(['a', 'b', 'c'].map((request) => loader.ask(request)))
    expect([loader.waiting, statements]).toEqual([3, []])
    expect(await answers).toEqual(['A', 'B', 'C'])
    expect([loader.waiting, statements]).toEqual([0, [['a', 'b', 'c']]])
  })

  it('are divided into statements of the largest size, one after the other', async () => {
    const { loader, statements } = recorded({ maxRequests: 2, concurrency: 1 })
    const answers = await Promise.all(['a', 'b', 'c', 'd', 'e'].map((request) => loader.ask(request)))
    expect(answers).toEqual(['A', 'B', 'C', 'D', 'E'])
    expect(statements).toEqual([['a', 'b'], ['c', 'd'], ['e']])
  })
})

describe('while a statement is in flight', () => {
  it('31 requests wait for the next one; the 32nd starts a second statement, which takes them all', async () => {
    const scene = held()
    await scene.ask(1)
    await scene.ask(31)
    expect([scene.sizes, scene.loader.waiting]).toEqual([[1], 31])
    await scene.ask(1)
    expect([scene.sizes, scene.loader.waiting]).toEqual([[1, 32], 0])
  })

  it('few requests are sent as soon as it ends', async () => {
    const scene = held()
    await scene.ask(1)
    await scene.ask(3)
    await scene.statements[0]?.end()
    expect(scene.sizes).toEqual([1, 3])
    await scene.statements[1]?.end()
    expect(scene.answered).toHaveLength(4)
  })

  it('a crowd gets as many statements as are allowed, and no more', async () => {
    const scene = held({ concurrency: 2 })
    await scene.ask(1)
    await scene.ask(40)
    await scene.ask(200)
    expect([scene.sizes, scene.loader.waiting]).toEqual([[1, 40], 200])
    await scene.statements[0]?.end()
    await scene.statements[1]?.end()
    expect(scene.sizes).toEqual([1, 40, 100, 100])
  })

  it('nothing keeps its place once it has ended: a lone request is sent at once again', async () => {
    const scene = held({ concurrency: 1 })
    for (const nth of [0, 1, 2]) {
      await scene.ask(1)
      expect(scene.sizes).toHaveLength(nth + 1)
      await scene.statements[nth]?.end()
    }
  })
})

describe('a loader with a pause', () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'setImmediate'] }))
  afterEach(() => void vi.useRealTimers())

  it('sends at once what is asked alone, and what follows together after the pause', async () => {
    const { loader, statements } = recorded({ pauseMs: 2 })
    const first = loader.ask('a')
    await vi.advanceTimersByTimeAsync(0)
    expect(await first).toBe('A')
    const more = ['b', 'c', 'd'].map((request) => loader.ask(request))
    await vi.advanceTimersByTimeAsync(1)
    expect(statements).toEqual([['a']])
    await vi.advanceTimersByTimeAsync(1)
    expect(await Promise.all(more)).toEqual(['B', 'C', 'D'])
    expect(statements).toEqual([['a'], ['b', 'c', 'd']])
  })

  it('sets no timer where no pause is wanted', async () => {
    const { loader } = recorded()
    const first = loader.ask('a')
    await vi.advanceTimersByTimeAsync(0)
    expect([await first, vi.getTimerCount()]).toEqual(['A', 0])
  })
})

describe('a statement that fails', () => {
  const outcomesOf = async (requests: readonly string[], loader: BatchLoader<string, string>) =>
    (await Promise.allSettled(requests.map((request) => loader.ask(request)))).map((outcome) =>
      outcome.status === 'fulfilled' ? outcome.value : `${outcome.reason.message}!`,
    )

  /** A loader whose statements fail if they contain the request `bad`. */
  function poisoned(message: string, isolation?: Options['isolation']) {
    const statements: string[] = []
    const loader = new BatchLoader<string, string>(
      async (requests) => {
        statements.push(requests.join(''))
        if (requests.includes('x')) throw new Error(message)
        return requests
      },
      { maxRequests: 100, concurrency: 1, ...(isolation === undefined ? {} : { isolation }) },
    )
    return { loader, statements }
  }

  const isolation: Options['isolation'] = {
    concernsOne: (error) => (error as Error).message === 'bad request',
    answer: async (request, error) => `${request}: ${(error as Error).message}`,
  }

  it('fails all of its requests, and the next ones are sent all the same', async () => {
    const { loader, statements } = poisoned('bad request')
    expect(await outcomesOf(['a', 'x', 'b'], loader)).toEqual(Array(3).fill('bad request!'))
    expect(await outcomesOf(['c'], loader)).toEqual(['c'])
    expect(statements).toEqual(['axb', 'c'])
  })

  it('because of one request is halved until that is alone, which the caller’s rule answers', async () => {
    const { loader, statements } = poisoned('bad request', isolation)
    expect(await outcomesOf(['a', 'b', 'c', 'x'], loader)).toEqual(['a', 'b', 'c', 'x: bad request'])
    expect(statements).toEqual(['abcx', 'ab', 'cx', 'c', 'x'])
  })

  it('fails the request that is alone if that rule rejects', async () => {
    const { loader } = poisoned('bad request', {
      ...isolation,
      answer: () => Promise.reject(new Error('refused')),
    })
    expect(await outcomesOf(['a', 'x'], loader)).toEqual(['a', 'refused!'])
  })

  it('for a reason that concerns all is not repeated', async () => {
    const { loader, statements } = poisoned('database away', isolation)
    expect(await outcomesOf(['a', 'x'], loader)).toEqual(Array(2).fill('database away!'))
    expect(statements).toEqual(['ax'])
  })

  it('by answering too few fails those that it left out', async () => {
    const loader = new BatchLoader<string, string>(async ([first]) => [first ?? ''], {
      maxRequests: 100,
      concurrency: 1,
    })
    expect(await outcomesOf(['a', 'b'], loader)).toEqual(['a', 'a read left a request unanswered!'])
  })
})
