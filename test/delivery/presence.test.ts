import { randomUUID } from 'node:crypto'
import postgres from 'postgres'
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import type { PresentConnection } from '../../src/store/connections.ts'
import { type Caller, newCallers, type Problem } from '../support/api.ts'
import { channelOf } from '../support/channel.ts'
import { open, STREAMING } from '../support/clients/index.ts'
import { SseStream } from '../support/clients/sse.ts'
import type { TestStream } from '../support/clients/stream.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { type Environment, type Instance, spawnInstance, startInstance } from '../support/instance.ts'

let database: TestDatabase
let sql: postgres.Sql
let instances: Instance[] = []
beforeAll(async () => {
  database = await createDatabase()
  sql = postgres(database.url, { max: 2, onnotice: () => {} })
})
afterEach(async () => {
  await Promise.all(instances.map((instance) => instance.close()))
  instances = []
})
afterAll(async () => {
  await sql.end()
  await database.drop()
})

/** Two instances on one database, and a user as each of them sees her. */
async function scene(environment: Environment = {}) {
  instances = await Promise.all([
    startInstance(environment, { database }),
    startInstance(environment, { database }),
  ])
  const [here, there] = instances as [Instance, Instance]
  const [alice, bob] = (await newCallers(here.url, `alice-${randomUUID()}`, 'bob')) as [Caller, Caller]
  return { alice, aliceThere: alice.at(there.url), bob, there }
}

async function connectionsOf(caller: Caller): Promise<readonly PresentConnection[]> {
  const { status, json } = await caller.call<{ connections: PresentConnection[] }>('GET', '/me/connections')
  expect(status).toBe(200)
  return json.connections
}

/** Waits until the user has so many connections; another instance's take a moment to be seen. */
function connected(caller: Caller, count: number): Promise<readonly PresentConnection[]> {
  return vi.waitUntil(
    async () => {
      const connections = await connectionsOf(caller)
      return connections.length === count && connections
    },
    { timeout: 20_000 },
  )
}

async function expectEnded(stream: TestStream, reason: 'replaced' | 'closed') {
  const { json } = await stream.next('stream.close')
  expect(json.data).toEqual({ reason, reconnect: false, retry_ms: 86_400_000 })
  const { code } = await stream.closed
  if (stream instanceof SseStream) expect(stream.retries.at(-1)).toBe(86_400_000)
  else expect(code).toBe(4500)
}

describe('GET /me/connections', () => {
  it('lists what was opened a moment ago on the same instance, and nobody else’s', async () => {
    const { alice, bob } = await scene()
    const before = Date.now()
    await open('sse', alice)
    await open('ws', alice)
    await open('ws', bob)
    const connections = await connectionsOf(alice)
    expect(connections.map(({ transport }) => transport)).toEqual(['sse', 'websocket'])
    expect(new Set(connections.map(({ id }) => id)).size).toBe(2)
    for (const { since, instance } of connections) {
      expect(Math.abs(Date.parse(since) - before)).toBeLessThan(5000)
      expect(instance).toBe(connections[0]?.instance)
    }
  })

  it('lists those on other instances, until they end', async () => {
    const { alice, aliceThere } = await scene()
    const first = await open('sse', alice)
    await open('ws', aliceThere)
    const connections = await connected(alice, 2)
    expect(connections.map(({ transport }) => transport)).toEqual(['sse', 'websocket'])
    expect(connections[0]?.instance).not.toBe(connections[1]?.instance)
    expect(await connected(aliceThere, 2)).toEqual(connections)
    first.close()
    expect(await connected(aliceThere, 1)).toEqual(connections.slice(1))
  })
})

describe.each(STREAMING)('DELETE /me/connections/{id}, over %s', (transport) => {
  it('ends a connection here or elsewhere, tells it not to come back, and leaves the others', async () => {
    const { alice, aliceThere, bob } = await scene()
    const ids: string[] = []
    const streams: TestStream[] = []
    for (const caller of [alice, aliceThere, alice]) {
      streams.push(await open(transport, caller))
      const connections = await connected(alice, streams.length)
      ids.push(...connections.map(({ id }) => id).filter((id) => !ids.includes(id)))
    }
    const [first, second, kept] = streams as [TestStream, TestStream, TestStream]
    for (const [i, stream] of [first, second].entries()) {
      expect((await alice.call('DELETE', `/me/connections/${ids[i]}`)).status).toBe(204)
      await expectEnded(stream, 'closed')
    }
    expect(await connected(aliceThere, 1)).toHaveLength(1)
    await bob.view(await alice.post())
    await kept.take(1)
  })
})

describe('DELETE /me/connections/{id}', () => {
  it('is 404 for what is not the caller’s, whoever’s it is', async () => {
    const { alice, bob, aliceThere } = await scene()
    const bobs = await open('sse', bob)
    const [connection] = await connected(bob, 1)
    for (const caller of [alice, aliceThere])
      for (const id of [connection?.id, randomUUID(), 'x', '%00']) {
        const { status, json } = await caller.call<Problem>('DELETE', `/me/connections/${id}`)
        expect([status, json.type]).toEqual([404, 'urn:glimpse:problem:unknown_connection'])
      }
    await alice.view(await bob.post())
    await bobs.take(1)
  })
})

describe('a connection whose row somebody else holds', () => {
  it('cannot be ended from another instance for now: 503, in bounded time', async () => {
    const { alice, aliceThere } = await scene()
    const stream = await open('sse', aliceThere)
    const [connection] = await connected(alice, 1)
    await sql.begin(async (held) => {
      await held`SELECT FROM glimpse.connections WHERE user_id = ${alice.user} FOR UPDATE`
      const { status, headers, json } = await alice.call<Problem>(
        'DELETE',
        `/me/connections/${connection?.id}`,
      )
      expect([status, json.type]).toEqual([503, 'urn:glimpse:problem:busy'])
      expect(headers.get('retry-after')).toBe('1')
    })
    expect((await alice.call('DELETE', `/me/connections/${connection?.id}`)).status).toBe(204)
    await expectEnded(stream, 'closed')
  })
})

describe('an instance that is to end a connection', () => {
  it('is called at once, by whoever asked for it', async () => {
    const { alice, aliceThere } = await scene({ MAX_CONNECTIONS_PER_USER: '1' })
    const calls: string[] = []
    await sql.listen(
      await channelOf(sql),
      (payload) => void (payload.startsWith('\tclose\t') && calls.push(payload)),
    )
    const called = (instance: string | undefined) =>
      vi.waitFor(() => expect(calls).toContain(`\tclose\t${instance}`), 20_000)

    await open('sse', alice)
    const [first] = await connected(aliceThere, 1)
    await open('sse', aliceThere)
    await called(first?.instance)
    const [second] = await vi.waitUntil(async () => {
      const connections = await connected(alice, 1)
      return connections[0]?.instance !== first?.instance && connections
    }, 20_000)
    await alice.call('DELETE', `/me/connections/${second?.id}`)
    await called(second?.instance)
  })
})

describe('MAX_CONNECTIONS_PER_USER over all instances', () => {
  it.each(STREAMING)('ends the oldest, wherever it is, when a newer one opens over %s', async (transport) => {
    const { alice, aliceThere, bob } = await scene({ MAX_CONNECTIONS_PER_USER: '2' })
    const oldest = await open('ws', alice)
    const second = await open('sse', aliceThere)
    await connected(aliceThere, 2)
    const third = await open(transport, aliceThere)
    await expectEnded(oldest, 'replaced')
    const fourth = await open(transport, alice)
    await expectEnded(second, 'replaced')
    await bob.view(await alice.post())
    await Promise.all([third.take(1), fourth.take(1)])
    await connected(alice, 2)
  })

  it('holds however many open at once on both', async () => {
    const { alice, aliceThere } = await scene({ MAX_CONNECTIONS_PER_USER: '3' })
    const streams = await Promise.all(
      Array.from({ length: 20 }, (_, i) => open(i % 4 < 2 ? 'sse' : 'ws', i % 2 === 0 ? alice : aliceThere)),
    )
    await connected(alice, 3)
    const ended = () => streams.filter(({ messages }) => messages.at(-1)?.json.type === 'stream.close')
    await vi.waitFor(() => expect(ended()).toHaveLength(17), 20_000)
  })

  it('is kept where the call to the other instance is lost', async () => {
    const { alice, aliceThere } = await scene({ MAX_CONNECTIONS_PER_USER: '1' })
    const oldest = await open('sse', alice)
    await connected(aliceThere, 1)
    // What the statement of another instance does, without its NOTIFY.
    await sql`UPDATE glimpse.connections SET closing = 'replaced' WHERE user_id = ${alice.user}`
    await expectEnded(oldest, 'replaced')
  })
})

describe('an instance that dies without a word', () => {
  it('loses its connections within seconds', async () => {
    const { alice } = await scene()
    const doomed = await spawnInstance({ DATABASE_URL: database.url, MIGRATE: 'off' })
    onTestFinished(async () => void (await doomed.kill('SIGKILL')))
    await open('sse', alice.at(doomed.url))
    await open('ws', alice)
    await connected(alice, 2)
    await doomed.kill('SIGKILL')
    expect(await connected(alice, 1)).toMatchObject([{ transport: 'websocket' }])
    // And its rows are cleaned away, not only passed over.
    await vi.waitFor(
      async () =>
        expect(await sql`SELECT FROM glimpse.connections WHERE user_id = ${alice.user}`).toHaveLength(1),
      20_000,
    )
  })

  it('is no obstacle to its user, who comes back elsewhere', async () => {
    const { alice, bob } = await scene({ MAX_CONNECTIONS_PER_USER: '1' })
    const doomed = await spawnInstance({
      DATABASE_URL: database.url,
      MIGRATE: 'off',
      MAX_CONNECTIONS_PER_USER: '1',
    })
    onTestFinished(async () => void (await doomed.kill('SIGKILL')))
    await open('sse', alice.at(doomed.url))
    await connected(alice, 1)
    await doomed.kill('SIGKILL')
    const next = await open('sse', alice)
    await bob.view(await alice.post())
    await next.take(1)
  })
})

describe('records that are lost', () => {
  it('are written again: after a crash of Postgres both tables are empty', async () => {
    const { alice, aliceThere } = await scene()
    await open('sse', alice)
    await open('ws', aliceThere)
    const connections = await connected(alice, 2)
    await sql`TRUNCATE glimpse.connections, glimpse.instances`
    const again = await connected(alice, 2)
    expect(again.map(({ id }) => id)).toEqual(connections.map(({ id }) => id))
    // Times are told by ages, to the millisecond.
    for (const [i, { since }] of again.entries())
      expect(Math.abs(Date.parse(since) - Date.parse(connections[i]?.since ?? ''))).toBeLessThan(1000)
  })

  it('leave nothing behind when their instances stop', async () => {
    const { alice, aliceThere, there } = await scene()
    await open('sse', alice)
    await open('ws', aliceThere)
    await connected(alice, 2)
    await there.drain()
    await connected(alice, 1)
    const names = () => sql`SELECT FROM glimpse.instances`
    expect(await names()).toHaveLength(1)
  })
})

describe('a database that cannot write presence down', () => {
  it('keeps nobody from connecting nor from what is due to them', async () => {
    const { alice, aliceThere, bob } = await scene({ MAX_CONNECTIONS_PER_USER: '2' })
    const early = await open('sse', alice)
    let streams: TestStream[] = []
    await sql.begin(async (held) => {
      await held`LOCK TABLE glimpse.connections, glimpse.instances IN ACCESS EXCLUSIVE MODE`
      streams = [await open('sse', alice), await open('ws', alice), await open('ws', aliceThere)]
      // The cap of the instance itself holds.
      await expectEnded(early, 'replaced')
      await bob.view(await alice.post())
      await Promise.all(streams.map((stream) => stream.take(1)))
    })
    // Once it can be written down the cap holds over all.
    await connected(alice, 2)
    await vi.waitFor(
      () =>
        expect(streams.filter(({ messages }) => messages.at(-1)?.json.type === 'stream.close')).toHaveLength(
          1,
        ),
      20_000,
    )
  })
})

describe('a crowd that connects at once', () => {
  it('is written down in few statements', async () => {
    const { alice, there } = await scene({ MAX_CONNECTIONS_PER_USER: '1000' })
    await Promise.all(Array.from({ length: 300 }, () => open('sse', alice.at(there.url))))
    await connected(alice, 300)
    const metrics = await (await fetch(`${there.url}/metrics`)).text()
    const count = /^glimpse_write_batch_rows_count\{kind="connection"\} (\d+)$/m.exec(metrics)?.[1]
    expect(Number(count)).toBeLessThan(60)
  })
})
