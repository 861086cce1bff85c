import { connect, type NatsConnection } from '@nats-io/transport-node'
import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Subjects } from '../../src/bus/subjects.ts'
import { uniqueName } from '../support/api.ts'
import { open } from '../support/clients/index.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { type Instance, startInstance } from '../support/instance.ts'
import { NATS_PASSWORDS, NATS_SAMPLE, NatsServer, withoutNats } from '../support/nats-server.ts'
import { insertStory, insertViews, readLog } from '../support/sql-writer.ts'
import { bodyOf } from '../support/stream-state.ts'

const subjects = new Subjects('glimpse')

describe.skipIf(withoutNats)(`the rights of deploy/nats.conf (${withoutNats ?? 'nats-server'})`, () => {
  let server: NatsServer
  let database: TestDatabase
  let sql: postgres.Sql
  let relaying: Instance
  let hearing: Instance
  beforeAll(async () => {
    server = await NatsServer.start({ config: NATS_SAMPLE })
    database = await createDatabase()
    sql = postgres(database.url, { max: 2 })
    relaying = await startInstance({ BUS_URL: server.urlFor('both') }, { database })
    hearing = await startInstance({ BUS_URL: server.urlFor('instance'), BUS_RELAY: 'off' }, { database })
  })
  afterAll(async () => {
    await Promise.all([relaying?.close(), hearing?.close()])
    await sql?.end()
    await database?.drop()
    await server?.kill()
  })

  async function as(user: keyof typeof NATS_PASSWORDS) {
    const connection = await connect({
      servers: `127.0.0.1:${server.port}`,
      user,
      pass: NATS_PASSWORDS[user],
      reconnect: false,
    })
    const refused: string[] = []
    void (async () => {
      for await (const status of connection.status())
        if (status.type === 'error') refused.push(status.error.message)
    })()
    return { connection, refused, [Symbol.asyncDispose]: () => connection.close() }
  }

  const metric = async ({ url }: Instance, name: string) =>
    Number(
      new RegExp(`^${name} (\\S+)$`, 'm').exec(await (await fetch(`${url}/metrics`)).text())?.[1] ??
        Number.NaN,
    )

  it('are enough for an instance that relays and for one that only hears: neither listens to Postgres', async () => {
    const author = uniqueName('alice')
    const token = await hearing.token(author)
    const streams = await Promise.all([relaying, hearing].map(({ url }) => open('sse', { url, token })))
    await insertViews(sql, await insertStory(sql, author), ['bob', 'carol'])
    const log = await readLog(sql, author)
    for (const stream of streams)
      expect((await stream.take(2)).map(({ raw }) => raw)).toEqual(
        log.map(({ body }) => expect.stringContaining(body.slice(1, 20))),
      )
    expect([
      await metric(relaying, 'glimpse_bus_relaying'),
      await metric(hearing, 'glimpse_bus_relaying'),
    ]).toEqual([1, 0])
    expect([
      await metric(relaying, 'glimpse_bus_fallback'),
      await metric(hearing, 'glimpse_bus_fallback'),
    ]).toEqual([0, 0])
    const [{ listeners }] = await sql<[{ listeners: number }]>`
      select count(*)::int as listeners from pg_stat_activity
       where datname = current_database() and application_name = 'glimpse-listen'`
    expect(listeners).toBe(1)
  })

  it('let an instance publish nothing: no event, no gap, no call, no beat', async () => {
    const author = uniqueName('alice')
    const stream = await open('sse', { url: hearing.url, token: await hearing.token(author) })
    const [{ epoch }] = await sql<[{ epoch: string }]>`select glimpse.epoch() as epoch`
    await using forger = await as('instance')
    const { connection, refused } = forger
    const forged = `${epoch}\0${author}\t1\t0\t${bodyOf(1)}\n\t1763906000123456`
    const attempts = [
      subjects.user(author),
      subjects.gap,
      subjects.queue,
      subjects.beat,
      subjects.instance('any'),
      'other',
      'glimpse.u.x.y',
    ]
    for (const subject of attempts) connection.publish(subject, forged)
    await connection.flush()
    await expect.poll(() => refused.length, { timeout: 30_000 }).toBe(attempts.length)
    for (const [i, subject] of attempts.entries()) expect(refused[i]).toContain(`"${subject}"`)
    await insertViews(sql, await insertStory(sql, author), ['bob'])
    const [event] = await stream.take(1)
    expect(JSON.parse(event?.raw ?? '').type).toBe('story.viewed')
  })

  it('would bring the forged event if a relay had published it: the test above would see it', async () => {
    const author = uniqueName('alice')
    const stream = await open('sse', { url: hearing.url, token: await hearing.token(author) })
    const [{ epoch }] = await sql<[{ epoch: string }]>`select glimpse.epoch() as epoch`
    await using relay = await as('relay')
    relay.connection.publish(
      subjects.user(author),
      `${epoch}\0${author}\t1\t0\t${bodyOf(1)}\n\t1763906000123456`,
    )
    const [event] = await stream.take(1)
    expect(JSON.parse(event?.raw ?? '').type).toBe('test.made')
  })

  const hears = async (connection: NatsConnection, subject: string) => {
    let heard = true
    connection.subscribe(subject, {
      callback: (error) => {
        if (error !== null) heard = false
      },
    })
    await connection.flush()
    return heard
  }

  it('let an instance hear of single users, its calls and gaps, and nothing wider', async () => {
    await using instance = await as('instance')
    const { connection } = instance
    for (const subject of [subjects.user('alice'), subjects.instance('one'), subjects.gap, subjects.queue])
      expect([subject, await hears(connection, subject)]).toEqual([subject, true])
    for (const subject of ['>', 'glimpse.>', subjects.beat, 'other.u.x', '$SYS.>'])
      expect([subject, await hears(connection, subject)]).toEqual([subject, false])
  })

  it('let a relay hear no event', async () => {
    await using relay = await as('relay')
    const { connection } = relay
    expect(await hears(connection, subjects.beat)).toBe(true)
    for (const subject of ['>', 'glimpse.>', 'glimpse.u.*', subjects.user('alice'), subjects.gap])
      expect([subject, await hears(connection, subject)]).toEqual([subject, false])
  })

  it('let nobody in without a password', async () => {
    await expect(connect({ servers: `127.0.0.1:${server.port}`, reconnect: false })).rejects.toThrow(
      /authorization/i,
    )
    await expect(
      startInstance({ BUS_URL: `nats://instance:wrong@127.0.0.1:${server.port}` }, { database }),
    ).rejects.toThrow('NATS refuses the credentials')
  })
})
