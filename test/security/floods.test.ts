import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Caller, call } from '../support/api.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { type MainProcess, spawnInstance } from '../support/instance.ts'
import { signToken } from '../support/token.ts'
import type { Flood, FloodResult } from './floods/flood.ts'
import { QuietCrowd } from './floods/quiet-crowd.ts'
import { countCases, FULL } from './support/full.ts'

const SIZE = 1000
const SECONDS = 8
const ROUNDS = 4
const SCRIPT = fileURLToPath(new URL('floods/flood.ts', import.meta.url))

/** The instance is a process with the limits that it has by default. */
describe.runIf(FULL)('while a flood goes on, 1,000 quiet streams miss nothing', { timeout: 120_000 }, () => {
  let database: TestDatabase
  let instance: MainProcess & { url: string }
  let crowd: QuietCrowd
  let author: Caller
  let story: string
  beforeAll(async () => {
    database = await createDatabase()
    instance = await spawnInstance({ DATABASE_URL: database.url, RATE_LIMIT: 'on' })
    crowd = new QuietCrowd(database.url)
    await crowd.open(instance.url, SIZE)
    author = new Caller(instance.url, 'author', await signToken('author'))
    story = await author.post()
  }, 120_000)
  afterAll(async () => {
    await crowd.close()
    expect(await instance.kill('SIGTERM')).toEqual({ code: 0, signal: null })
    await database.drop()
  }, 60_000)

  const bearer = (token: string) => ({ authorization: `Bearer ${token}` })

  /** What is sent, over how many connections, and which statuses must be among the answers. */
  const floods: [string, () => Promise<Omit<Flood, 'url' | 'seconds'>>, number[]][] = [
    [
      'views by one user',
      async () => ({
        connections: 200,
        requests: [
          { method: 'POST', path: `/stories/${story}/view`, headers: bearer(await signToken('flooder')) },
        ],
      }),
      [429],
    ],
    [
      'views by 500 users',
      async () => ({
        connections: 200,
        requests: await Promise.all(
          Array.from({ length: 500 }, async (_, i) => ({
            method: 'POST' as const,
            path: `/stories/${story}/view`,
            headers: bearer(await signToken(`flooder-${i}`)),
          })),
        ),
      }),
      [200],
    ],
    [
      'connects by one user',
      async () => ({
        connections: 200,
        requests: [{ method: 'GET', path: '/events', headers: bearer(await signToken('connector')) }],
      }),
      [429],
    ],
    [
      'bad tokens',
      async () => ({
        connections: 200,
        requests: await Promise.all(
          Array.from({ length: 200 }, async () => ({
            method: 'GET' as const,
            path: '/events',
            headers: bearer(await signToken(randomUUID(), { secret: 'x'.repeat(32) })),
          })),
        ),
      }),
      [401],
    ],
    [
      'requests for nothing, 20 at once on each connection',
      async () => ({ connections: 200, pipelining: 20, requests: [{ method: 'GET', path: '/nowhere' }] }),
      [404],
    ],
  ]

  it.for(floods)('%s', async ([, prepare, statuses], context) => {
    const flood: Flood = { ...(await prepare()), url: instance.url, seconds: SECONDS }
    const flooding = run(flood)
    for (let round = 0; round < ROUNDS; round += 1) {
      await sleep((SECONDS * 1000) / ROUNDS)
      await crowd.makeEvents()
    }
    const result = await flooding
    expect(await crowd.missing()).toEqual([])
    expect(Object.keys(result.statuses)).toEqual(expect.arrayContaining(statuses.map(String)))
    expect(
      Object.keys(result.statuses).filter((status) => status.startsWith('5') && status !== '503'),
    ).toEqual([])
    expect((await call(instance.url, '/readyz')).status).toBe(200)
    const total = Object.values(result.statuses).reduce((sum, count) => sum + count, 0)
    countCases(context, total, `${context.task.name}: ${JSON.stringify(result.statuses)}`)
  })
})

async function run(flood: Flood): Promise<FloodResult> {
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--import', 'tsx', SCRIPT, JSON.stringify(flood)],
    {
      maxBuffer: 2 ** 24,
    },
  )
  return JSON.parse(stdout) as FloodResult
}
