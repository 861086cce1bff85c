import { expect, it } from 'vitest'
import type { StreamHead } from '../../src/event.ts'
import type { Log, Subscriber } from '../../src/hub/subscriber.ts'
import { Sweep } from '../../src/hub/sweep.ts'
import { createLogger } from '../../src/observability/log.ts'
import { headOf } from '../support/stream-state.ts'

/** A sweep over so many users, and what it did in order: `before`, `heads` and `compare` with how many users at a time. */
function scene(
  count: number,
  heads: (users: readonly string[]) => Promise<readonly (StreamHead | undefined)[]>,
) {
  const steps: [what: string, users: number][] = []
  const compared: string[] = []
  const logged: unknown[] = []
  const note = (what: string, users = 1) => {
    const last = steps.at(-1)
    if (last?.[0] === what && what !== 'heads') last[1] += users
    else steps.push([what, users])
  }
  const standings = Array.from({ length: count }, () => new Map())
  const subscribers = Array.from({ length: count }, (_, i) => ({
    user: `user-${i}`,
    standings: () => {
      note('before')
      return standings[i]
    },
    compare: (_head: StreamHead, before: unknown) => {
      expect(before).toBe(standings[i])
      note('compare')
      compared.push(`user-${i}`)
    },
  })) as unknown as Subscriber[]
  const log: Pick<Log, 'heads'> = {
    heads: (users) => {
      note('heads', users.length)
      return heads(users)
    },
  }
  const logger = createLogger('silent')
  logger.debug = (...said: unknown[]) => void logged.push(said)
  return { sweep: new Sweep(() => subscribers, log as Log, logger), steps, compared, logged }
}

const all = async (users: readonly string[]) => users.map(() => headOf())

it('asks for 2,000 heads at a time, and notes where each connection stands before it asks', async () => {
  const { sweep, steps } = scene(4500, all)
  await sweep.run()
  expect(steps).toEqual(
    [2000, 2000, 500].flatMap((users) => [
      ['before', users],
      ['heads', users],
      ['compare', users],
    ]),
  )
})

it('asks nothing where nobody is here', async () => {
  const { sweep, steps } = scene(0, all)
  await sweep.run()
  expect(steps).toEqual([])
})

it('passes over a stream that cannot be read, and compares the others', async () => {
  const { sweep, compared } = scene(3, async () => [headOf(), undefined, headOf()])
  await sweep.run()
  expect(compared).toEqual(['user-0', 'user-2'])
})

it('that is wanted several times while one runs follows it once', async () => {
  let answer = () => {}
  const { sweep, steps } = scene(1, (users) => new Promise((resolve) => (answer = () => resolve(all(users)))))
  const running = sweep.run()
  await Promise.all([sweep.run(), sweep.run(), sweep.run()])
  expect(steps.filter(([what]) => what === 'heads')).toHaveLength(1)
  answer()
  await expect.poll(() => steps.filter(([what]) => what === 'heads')).toHaveLength(2)
  answer()
  await running
  expect(steps.filter(([what]) => what === 'heads')).toHaveLength(2)
})

it('that fails rejects nobody, and the next one runs', async () => {
  let fails = true
  const away = new Error('away')
  const { sweep, compared, logged } = scene(1, (users) => (fails ? Promise.reject(away) : all(users)))
  await sweep.run()
  expect(compared).toEqual([])
  expect(logged).toEqual([[{ err: away }, 'the sweep failed; the next one makes up for it']])
  fails = false
  await sweep.run()
  expect(compared).toEqual(['user-0'])
})
