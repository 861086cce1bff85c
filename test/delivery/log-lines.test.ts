import { afterAll, beforeAll, describe, it, type TestContext } from 'vitest'
import { createMetrics } from '../../src/observability/metrics.ts'
import { Cleaner } from '../../src/store/retention.ts'
import { Caller } from '../support/api.ts'
import { openSse } from '../support/clients/sse.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { type Environment, type MainProcess, spawnInstance } from '../support/instance.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'
import { signToken } from '../support/token.ts'

let database: TestDatabase
beforeAll(async () => {
  database = await createDatabase()
})
afterAll(() => database.drop())

/** An instance whose way to Postgres can be made to fail; it logs everything, so that a test can await attempts. */
async function spawned({ onTestFinished }: TestContext, environment: (through: string) => Environment) {
  const proxy = await TcpProxy.before(database.url)
  const main = await spawnInstance({
    DATABASE_URL: proxy.urlFor(database.url),
    MIGRATE: 'off',
    LOG_LEVEL: 'debug',
    DRAIN_TIMEOUT_MS: '500',
    ...environment(proxy.urlFor(database.url)),
  })
  onTestFinished(async () => {
    await main.kill('SIGKILL')
    await proxy.close()
  })
  return { main, proxy }
}

/** What an operator sees at the default level. */
const seen = ({ lines }: MainProcess) =>
  lines
    .filter(({ level }) => level !== 'debug' && level !== 'trace')
    .map(({ level, msg }) => `${level}: ${msg}`)

const count = ({ lines }: MainProcess, message: string) => lines.filter(({ msg }) => msg === message).length

const STARTED = ['info: the bus is live', 'info: listening']
const REPLACING = 'warn: replacing the LISTEN session; events wait in the log meanwhile'
const UNPROVEN = 'warn: the test notification could not be sent; still listening'
const REFUSED = 'warn: cannot LISTEN on the database; retrying'

// They wait for the clocks of instances of their own.
describe.concurrent('an operator sees', () => {
  it('four lines of an ordinary day, whatever clients do', async (context) => {
    const { expect } = context
    const { main } = await spawned(context, () => ({}))
    const author = new Caller(main.url, 'author', await signToken('author'))
    const story = await author.post()
    const stream = await openSse(author)
    const viewer = new Caller(main.url, 'viewer', await signToken('viewer'))
    await viewer.view(story)
    await stream.take(1)
    stream.cut()
    await viewer.call('POST', '/stories/nonsense/view')
    await viewer.call('GET', '/nothing')
    await openSse({ url: main.url, token: 'nobody’s' }).catch(() => {})
    await main.kill('SIGTERM')
    expect(seen(main)).toEqual([...STARTED, 'info: draining', 'info: stopped'])
  })

  it('the beginning of an outage, why it lasts, and its end: one line each', async (context) => {
    const { expect } = context
    const { main, proxy } = await spawned(context, () => ({}))
    proxy.blackhole()
    const patience = { timeout: 20_000, interval: 20 }
    await expect.poll(() => count(main, 'LISTEN failed'), patience).toBeGreaterThan(0)
    proxy.heal()
    await expect.poll(() => seen(main).length, patience).toBe(STARTED.length + 3)
    expect(seen(main)).toEqual([...STARTED, REPLACING, REFUSED, 'info: the bus is live'])
    const end = main.lines.findLast(({ msg }) => msg === 'the bus is live') as { outageMs?: number }
    expect(end.outageMs).toBeGreaterThan(1000)
  }, 50_000)

  it('no line for each attempt, where LISTEN is refused or only the pool is', async (context) => {
    const { expect } = context
    const both = await spawned(context, () => ({}))
    const pool = await spawned(context, (through) => ({
      DATABASE_URL: through,
      LISTEN_DATABASE_URL: database.url,
    }))
    await Promise.all([both.proxy.close(), pool.proxy.close()])
    const patience = { timeout: 20_000, interval: 20 }
    await expect.poll(() => count(both.main, 'LISTEN failed'), patience).toBeGreaterThan(2)
    await expect.poll(() => count(pool.main, 'the canary could not be sent'), patience).toBeGreaterThan(2)
    expect(seen(both.main)).toEqual([...STARTED, REPLACING, REFUSED])
    expect(seen(pool.main)).toEqual([...STARTED, UNPROVEN])
  }, 50_000)

  it('once that cleaning keeps failing', async ({ expect, onTestFinished }) => {
    const warnings: string[] = []
    let rounds = 0
    const log = { debug: () => rounds++, error: (_: unknown, message: string) => warnings.push(message) }
    const refusing = () => {
      const refused = Promise.reject(new Error('permission denied for table events'))
      // Parts of a statement are asked for in the same way, and nobody awaits them.
      refused.catch(() => {})
      return refused
    }
    const cleaner = new Cleaner({
      sql: refusing as never,
      retentionHours: 1,
      log: log as never,
      metrics: createMetrics(),
      intervalMs: 1,
    })
    cleaner.start()
    onTestFinished(() => cleaner.stop())
    await expect.poll(() => rounds).toBeGreaterThan(20)
    expect(warnings).toEqual(['cleaning keeps failing; expired data is not deleted'])
  })
})
