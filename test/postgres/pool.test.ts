import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { createPool } from '../../src/postgres/pool.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { upTo } from '../support/sql-writer.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'

let database: TestDatabase
beforeAll(async () => {
  database = await createDatabase()
})
afterAll(() => database.drop())

async function listening(server: Server): Promise<string> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  return `postgres://nobody@127.0.0.1:${(server.address() as AddressInfo).port}/none`
}

/** A URL of the database by way of a relay that looks at what clients send. */
async function relaying(look: (bytes: Buffer, client: Socket, connectedAt: number) => void): Promise<string> {
  const { port } = new URL(database.url)
  const relay = createServer((client) => {
    const connectedAt = performance.now()
    const server = connect(Number(port), '127.0.0.1')
    client.on('data', (bytes) => {
      look(bytes, client, connectedAt)
      if (!client.destroyed) server.write(bytes)
    })
    client.on('error', () => {}).on('close', () => server.destroy())
    server.on('error', () => {}).on('close', () => client.end())
    server.pipe(client)
  })
  const { port: relayPort } = new URL(await listening(relay))
  return Object.assign(new URL(database.url), { host: `127.0.0.1:${relayPort}` }).href
}

describe('a pool', () => {
  it('knows its connections, and which statements had to wait for one or came too late', async () => {
    const sql = createPool(database.url, 2, 'pool-test')
    onTestFinished(() => sql.end({ timeout: 0 }))
    expect(sql.usage).toEqual({
      max: 2,
      ...{ busy: 0, idle: 0, opening: 0, waiting: 0 },
      ...{ waits: 0, waitedSeconds: 0, timedOut: 0 },
    })
    await sql`select 1`
    const before = sql.usage
    expect(before).toMatchObject({ busy: 0, idle: 1 })
    const running = Promise.all(upTo(5).map(() => sql`select pg_sleep(0.5)`))
    await nextTurn()
    await sql.within(50, async (quick) => quick`select 1`.catch(() => {}))
    // The second connection may take longer to make than that statement had patience.
    await expect.poll(() => sql.usage).toMatchObject({ waiting: 3, timedOut: 1 })
    await running
    const { waits, waitedSeconds, waiting, busy, idle } = sql.usage
    expect({ waiting, busy, idle }).toEqual({ waiting: 0, busy: 0, idle: 2 })
    // The first took the connection there was; the second waited for one to be made.
    expect(waits - before.waits).toBe(5)
    expect(waitedSeconds - before.waitedSeconds).toBeGreaterThan(0.3)
  })

  it('goes on at once after its connections were cut while statements waited for their turn', async () => {
    const proxy = await TcpProxy.before(database.url)
    onTestFinished(() => proxy.close())
    const sql = createPool(proxy.urlFor(database.url), 3, 'pool-test')
    onTestFinished(() => sql.end({ timeout: 0 }))
    for (const _ of upTo(3)) {
      await Promise.all(upTo(3).map(() => sql`select pg_sleep(0.01)`))
      proxy.resetAll()
      const cut: Promise<unknown>[] = []
      // As whoever batches does: statements that begin in the turn in which the close is noticed.
      for (const __ of upTo(20)) {
        await nextTurn()
        cut.push(sql`select 1`.catch(() => {}))
      }
      await Promise.all(cut)
      const startedAt = performance.now()
      await Promise.all(upTo(6).map(() => sql`select 1`))
      expect(performance.now() - startedAt).toBeLessThan(2000)
    }
  })

  it('rejects a statement where the server accepts and closes without a word, and does not hammer it', async () => {
    let accepted = 0
    const url = await listening(
      createServer((socket) => {
        accepted++
        socket.on('error', () => {}).end()
      }),
    )
    const sql = createPool(url, 1, 'pool-test')
    onTestFinished(() => sql.end({ timeout: 0 }))
    await expect(sql`select 1`).rejects.toThrow('the server closed the connection')
    expect(accepted).toBeLessThan(5)
  })

  it('rejects a statement where nobody listens', async () => {
    const sql = createPool('postgres://nobody@127.0.0.1:9/none', 1, 'pool-test')
    onTestFinished(() => sql.end({ timeout: 0 }))
    await expect(sql`select 1`).rejects.toThrow('ECONNREFUSED')
  })

  it('sends arrays of every type that statements name, whatever is in them', async () => {
    const sql = createPool(database.url, 1, 'pool-test')
    onTestFinished(() => sql.end({ timeout: 0 }))
    const texts = ['', 'NULL', ' a,b ', '{"x"}', "'", '\\', '"\\"', '\n\t', '❤️', 'null']
    expect(await sql`select unnest(${texts}::text[]) as text`).toEqual(texts.map((text) => ({ text })))
    const id = '550e8400-e29b-41d4-a716-446655440000'
    expect(
      await sql`
        select u::text, i, b::float8 as b
          from unnest(${[id, id]}::uuid[], ${[1, -2]}::int[], ${[2 ** 53 - 1, 0]}::bigint[]) as x (u, i, b)`,
    ).toEqual([
      { u: id, i: 1, b: 2 ** 53 - 1 },
      { u: id, i: -2, b: 0 },
    ])
    expect(await sql`select cardinality(${[]}::text[]) as none`).toEqual([{ none: 0 }])
  })

  // In the two that follow, the runner fails where a rejection is handled by nobody; the service would end.
  it('asks nothing of its own that a reset could leave unanswered', async () => {
    const url = await relaying((bytes, client) => {
      if (bytes.includes('pg_type')) client.resetAndDestroy()
    })
    const sql = createPool(url, 1, 'pool-test')
    onTestFinished(() => sql.end({ timeout: 0 }))
    expect(await sql`select 1 as one`).toMatchObject([{ one: 1 }])
  })

  it.each([
    ['is answered, as always, by a closed connection', true],
    ['does not get through', false],
  ])('gives up a statement in time, where the request to cancel it %s', async (_what, passes) => {
    const refusing = new Set<Socket>()
    let refuses = false
    const url = await relaying((bytes, client) => {
      // CancelRequest: 16 bytes, told by its code.
      if (refuses && bytes.length === 16 && bytes.readInt32BE(4) === 80_877_102)
        refusing.add(client.resetAndDestroy())
    })
    const sql = createPool(url, 1, 'pool-test')
    onTestFinished(() => sql.end({ timeout: 0 }))
    await sql`select 1`
    refuses = !passes
    await expect(sql.within(100, async (timed) => timed`select pg_sleep(30)`)).rejects.toMatchObject({
      code: 'TIMEOUT',
      message: 'no answer within 100 ms',
    })
    const watcher = createPool(database.url, 1, 'pool-test')
    onTestFinished(() => watcher.end({ timeout: 0 }))
    const sleepers = () => watcher<{ pid: number }[]>`
      select pid from pg_stat_activity where query = 'select pg_sleep(30)' and state = 'active'`
    if (passes) await expect.poll(async () => (await sleepers()).length).toBe(0)
    else {
      await expect.poll(() => refusing.size).toBeGreaterThan(0)
      await watcher`select pg_terminate_backend(pid) from pg_stat_activity where query = 'select pg_sleep(30)'`
    }
    expect(await sql`select 1 as one`).toMatchObject([{ one: 1 }])
  })

  it('ends in the time it is given, whatever is under way, and then refuses statements', async () => {
    const sql = createPool(database.url, 2, 'pool-test')
    await sql`select 1`
    const slow = expect(sql`select pg_sleep(30)`).rejects.toMatchObject({ code: 'ENDED' })
    await nextTurn()
    await sql.end({ timeout: 0.05 })
    await slow
    await expect(sql`select 1`).rejects.toMatchObject({ code: 'ENDED' })
    const unused = createPool(database.url, 1, 'pool-test')
    await unused.end()
    await expect(unused`select 1`).rejects.toMatchObject({ code: 'ENDED' })
  })

  it('tries the hosts of a URL in turn', async () => {
    const url = new URL(database.url)
    const sql = createPool(database.url.replace(url.host, `127.0.0.1:9,${url.host}`), 1, 'pool-test')
    onTestFinished(() => sql.end({ timeout: 0 }))
    expect(await sql`select 1 as one`).toMatchObject([{ one: 1 }])
  })
})
