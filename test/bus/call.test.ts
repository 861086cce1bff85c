import postgres from 'postgres'
import { expect, it, onTestFinished } from 'vitest'
import { PostgresBus } from '../../src/bus/postgres-bus.ts'
import { createLogger } from '../../src/observability/log.ts'
import { parseConnectionUrl } from '../../src/postgres/connection-url.ts'
import { createPool } from '../../src/postgres/pool.ts'
import { sendCanary } from '../../src/store/canary.ts'
import { channelOf } from '../support/channel.ts'
import { createDatabase } from '../support/database.ts'

it('a call reaches the instance that it names, and no other', async () => {
  const database = await createDatabase()
  const pool = createPool(database.url, 1, 'bus-test')
  const sql = postgres(database.url, { max: 1 })
  let calls = 0
  let called = () => {}
  const bus = new PostgresBus({
    connection: parseConnectionUrl(database.url),
    log: createLogger('silent'),
    instance: 'here',
    notify: (payload) => sendCanary(pool, payload),
    listener: {
      recipient: () => undefined,
      onHandedOn: () => {},
      onQueued: () => {},
      onCall: () => {
        calls += 1
        called()
      },
      onGap: () => {},
      onDoubt: () => {},
    },
  })
  onTestFinished(async () => {
    await bus.close()
    await Promise.all([sql.end(), pool.end({ timeout: 1 })])
    await database.drop()
  })
  await bus.start()
  const heard = new Promise<void>((resolve) => {
    called = resolve
  })
  for (const instance of ['there', 'her', 'here2', 'here'])
    await sql`SELECT pg_notify(${await channelOf(sql)}, ${`\tclose\t${instance}`})`
  await heard
  expect(calls).toBe(1)
})
