import postgres from 'postgres'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { Bus, BusListener, Trailer } from '../../src/bus/bus.ts'
import type { EventRun } from '../../src/event.ts'
import { createPool, type Pool } from '../../src/postgres/pool.ts'
import { sendCanary } from '../../src/store/canary.ts'
import { channelOf } from '../support/channel.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { insertStory, insertViews, readLog, upTo } from '../support/sql-writer.ts'

/** What a bus is opened with, in an instance of that name. */
export interface Opening {
  readonly database: TestDatabase
  readonly instance: string
  readonly listener: BusListener
  readonly notify: (payload: string) => ReturnType<typeof sendCanary>
}

/** One way to carry hints. */
export interface Implementation {
  /** Starts what all instances share. */
  prepare(database: TestDatabase): Promise<{ open(opening: Opening): Bus; close(): Promise<void> }>
  /** The name in pg_stat_activity of the sessions that listen. */
  readonly listeners: string
}

/** What one instance was told. */
interface Told {
  readonly bus: Bus
  readonly events: { user: string; epoch: string; seq: number; time: number; body: string }[]
  readonly announced: string[]
  readonly read: string[]
  readonly gaps: string[]
  readonly doubted: string[]
  readonly traced: Trailer[]
  readonly sentAt: number[]
  calls: number
  queued: number
}

const PATIENCE = { timeout: 30_000, interval: 20 }

/** Users as identity providers name them, and such as would mean something to a broker. */
const NAMES = [
  'alice',
  'auth0|5f7c8ec7c33c6c004bbafe82',
  'https://issuer.example/users/7',
  'CN=Ann Example,OU=People,DC=example,DC=org',
  'ann*>.x y',
  '>',
  '*',
  '..',
  'Ζωή 🌈',
  'x'.repeat(255),
]

/** What the hub relies on, whichever bus brings it its events. */
export function busContract(name: string, implementation: Implementation): void {
  describe(`a bus by ${name}`, () => {
    let database: TestDatabase
    let sql: postgres.Sql
    let pool: Pool
    let shared: Awaited<ReturnType<Implementation['prepare']>>
    const open: Bus[] = []
    beforeAll(async () => {
      database = await createDatabase()
      sql = postgres(database.url, { max: 4, onnotice: () => {} })
      pool = createPool(database.url, 2, 'bus-contract')
      shared = await implementation.prepare(database)
    })
    afterEach(async () => {
      await Promise.all(open.splice(0).map((bus) => bus.close()))
    })
    afterAll(async () => {
      await shared?.close()
      await Promise.all([sql.end(), pool.end({ timeout: 1 })])
      await database.drop()
    })

    /** An instance whose users these are, once its bus has started. */
    async function instance(users: readonly string[], name = `instance ${open.length}`): Promise<Told> {
      const here = new Set(users)
      const lists = {
        events: [],
        announced: [],
        read: [],
        gaps: [],
        doubted: [],
        traced: [],
        sentAt: [],
      } as Omit<Told, 'bus' | 'calls' | 'queued'>
      const told = { ...lists, calls: 0, queued: 0 } as Told
      const take =
        (user: string) =>
        (epoch: string, { first, times, bodies }: EventRun) =>
          bodies.forEach((body, i) => {
            told.events.push({ user, epoch, seq: first + i, time: times[i] as number, body })
          })
      const bus = shared.open({
        database,
        instance: name,
        notify: (payload) => sendCanary(pool, payload),
        listener: {
          recipient: (user) =>
            here.has(user)
              ? {
                  push: take(user),
                  announce: (_, seq) => told.announced.push(`${user} ${seq}`),
                  markRead: (_, { seq }, unread) => told.read.push(`${user} ${seq} ${unread}`),
                }
              : undefined,
          onHandedOn: (sentAt, traced) => {
            told.sentAt.push(sentAt)
            told.traced.push(...traced)
          },
          onCall: () => {
            told.calls++
          },
          onQueued: () => {
            told.queued++
          },
          onGap: (epoch) => told.gaps.push(epoch),
          onDoubt: (doubted) => told.doubted.push(...doubted),
        },
      })
      open.push(bus)
      await bus.start()
      await Promise.all(users.map((user) => bus.follow(user)))
      return Object.assign(told, { bus })
    }

    const seqs = ({ events }: Told, user: string) =>
      events.filter((event) => event.user === user).map(({ seq }) => seq)
    let numbers = 0
    const newUser = (name: string) => `${name} ${++numbers}`
    const epoch = async () => (await sql`select glimpse.epoch() as epoch`)[0]?.epoch as string

    it('is alive once it has started, and knows the history', async () => {
      const { bus, gaps } = await instance([])
      expect(bus.alive).toBe(true)
      expect(gaps.length).toBeGreaterThan(0)
      expect(new Set(gaps)).toEqual(new Set([await epoch()]))
    })

    it('shows the clock of the database', async () => {
      const { bus } = await instance([])
      const before = (await sql`select extract(epoch from clock_timestamp()) * 1000 as ms`)[0]?.ms
      const shown = bus.clock.now
      // The two are read one after the other, on a machine that may be busy.
      expect(Math.abs((shown ?? 0) - Number(before))).toBeLessThan(30_000)
    })

    it('brings an event as the log has it', async () => {
      const author = newUser('alice')
      const here = await instance([author])
      await insertViews(sql, await insertStory(sql, author), ['bob'])
      await expect.poll(() => here.events.length, PATIENCE).toBe(1)
      const [event] = here.events
      const [row] = await sql`
        select body, (extract(epoch from logged_at) * 1000000)::bigint as time from glimpse.events where user_id = ${author}`
      expect(event).toEqual({
        user: author,
        epoch: await epoch(),
        seq: 1,
        time: Number(row?.time),
        body: row?.body,
      })
      expect(here.sentAt.at(-1)).toBe(Number(row?.time))
    })

    it('brings all events of a user, in order, however they are written', async () => {
      const author = newUser('alice')
      const here = await instance([author])
      const story = await insertStory(sql, author)
      await Promise.all(
        upTo(20).map((n) =>
          insertViews(
            sql,
            story,
            upTo(n === 7 ? 300 : n).map((i) => `viewer ${n} ${i}`),
          ),
        ),
      )
      const log = await readLog(sql, author)
      await expect.poll(() => here.events.length, PATIENCE).toBe(log.length)
      expect(here.events.map(({ seq, body }) => ({ seq, body }))).toEqual(log)
    })

    it('brings each instance the events of its users', async () => {
      const [alice, bob, carol] = [newUser('alice'), newUser('bob'), newUser('carol')]
      const [one, two] = [await instance([alice, carol], 'one'), await instance([bob, carol], 'two')]
      const stories = await Promise.all([alice, bob, carol].map((author) => insertStory(sql, author)))
      // One statement: its NOTIFY is for all three.
      await sql`insert into glimpse.story_views (story_id, viewer_id) select unnest(${stories}::uuid[]), 'dave'`
      await expect.poll(() => [one.events.length, two.events.length], PATIENCE).toEqual([2, 2])
      expect([seqs(one, alice), seqs(one, carol), seqs(two, bob), seqs(two, carol)]).toEqual([
        [1],
        [1],
        [1],
        [1],
      ])
    })

    it('brings the events of users whatever they are called', async () => {
      const here = await instance(NAMES)
      for (const name of NAMES) await insertViews(sql, await insertStory(sql, name), ['bob', 'carol'])
      await expect.poll(() => here.events.length, PATIENCE).toBe(2 * NAMES.length)
      for (const name of NAMES) expect(seqs(here, name)).toEqual([1, 2])
    })

    it('follows a user who comes later, and another after one has left', async () => {
      const [alice, bob] = [newUser('alice'), newUser('bob')]
      const here = await instance([alice, bob])
      here.bus.unfollow(alice)
      await here.bus.follow(alice)
      // For a second connection.
      await here.bus.follow(alice)
      here.bus.unfollow(bob)
      await insertViews(sql, await insertStory(sql, alice), ['carol'])
      await expect.poll(() => seqs(here, alice), PATIENCE).toEqual([1])
    })

    it('announces an event that is too large to be sent along', async () => {
      const user = newUser('alice')
      const here = await instance([user])
      const data = JSON.stringify({ text: '❤️'.repeat(2000) })
      await sql`select glimpse.append(row(${user}, 'note', ${data}::json, now())::glimpse.new_event)`
      await expect.poll(() => here.announced, PATIENCE).toEqual([`${user} 1`])
    })

    it('tells how far a user has read', async () => {
      const author = newUser('alice')
      const here = await instance([author])
      await insertViews(sql, await insertStory(sql, author), ['bob', 'carol'])
      const channel = await channelOf(sql)
      await sql`select pg_notify(${channel}, ${`${author}\tr1\t1763906000123456\t1`})`
      await expect.poll(() => here.read, PATIENCE).toEqual([`${author} 1 1`])
    })

    it('hands on the traces of writers', async () => {
      const author = newUser('alice')
      const here = await instance([author])
      const story = await insertStory(sql, author)
      const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'
      await sql.begin(async (tx) => {
        await tx`select set_config('glimpse.traceparent', ${traceparent}, true)`
        await tx`insert into glimpse.story_views (story_id, viewer_id) values (${story}, 'bob')`
      })
      await expect.poll(() => here.traced.map((trace) => trace.traceparent), PATIENCE).toEqual([traceparent])
    })

    it('calls the instance that is named, and no other', async () => {
      const [one, two] = [await instance([], 'host-1:17'), await instance([], 'host-2:17')]
      const channel = await channelOf(sql)
      await sql`select pg_notify(${channel}, ${'\tclose\thost-2:17'})`
      await expect.poll(() => two.calls, PATIENCE).toBe(1)
      expect(one.calls).toBe(0)
    })

    it('calls all instances to the queue', async () => {
      const [one, two] = [await instance([]), await instance([])]
      const channel = await channelOf(sql)
      await sql`select pg_notify(${channel}, ${'\tqueue'})`
      await expect.poll(() => one.queued > 0 && two.queued > 0, PATIENCE).toBe(true)
      expect([one.calls, two.calls]).toEqual([0, 0])
    })

    it('believes nothing that is not of the form of an event', async () => {
      const author = newUser('alice')
      const here = await instance([author])
      const channel = await channelOf(sql)
      for (const forged of [
        author,
        `${author}\t1`,
        `${author}\t1\t0\t{"seq":2,"type":"x"}\n\t1763906000123456`,
        `${author}\t1\t0\t{"seq":1}\r\rid: 9\n\t1763906000123456`,
        '\t',
        '\t\t',
        '\tclose\t',
        '\n',
        '\u0001',
      ])
        await sql`select pg_notify(${channel}, ${forged})`
      await insertViews(sql, await insertStory(sql, author), ['bob'])
      await expect.poll(() => here.events.length, PATIENCE).toBe(1)
      expect(here.events[0]?.body).toBe((await readLog(sql, author))[0]?.body)
    })

    it('tells of a gap after the session that listens has ended, and brings what comes then', async () => {
      const author = newUser('alice')
      const here = await instance([author])
      const gaps = here.gaps.length
      await sql`select pg_terminate_backend(pid) from pg_stat_activity
                 where datname = current_database() and application_name = ${implementation.listeners}`
      await expect.poll(() => here.gaps.length, PATIENCE).toBeGreaterThan(gaps)
      await insertViews(sql, await insertStory(sql, author), ['bob'])
      await expect.poll(() => seqs(here, author), PATIENCE).toEqual([1])
      await expect.poll(() => here.bus.alive, PATIENCE).toBe(true)
    })

    it('moves to a history that begins, and brings its events under its name', async () => {
      const author = newUser('alice')
      const here = await instance([author])
      await sql`select glimpse.new_history()`
      const current = await epoch()
      await expect.poll(() => here.gaps.at(-1), PATIENCE).toBe(current)
      await insertViews(sql, await insertStory(sql, author), ['bob'])
      await expect.poll(() => here.events.at(-1)?.epoch, PATIENCE).toBe(current)
    })

    it('does nothing any more once it is closed', async () => {
      const author = newUser('alice')
      const [closed, other] = [await instance([author], 'closed'), await instance([author], 'other')]
      await closed.bus.close()
      expect(closed.bus.alive).toBe(false)
      const gaps = closed.gaps.length
      await insertViews(sql, await insertStory(sql, author), ['bob'])
      await expect.poll(() => seqs(other, author), PATIENCE).toEqual([1])
      expect([closed.events.length, closed.gaps.length]).toEqual([0, gaps])
      // Whoever is still about to connect is not held up.
      await closed.bus.follow(newUser('late'))
      closed.bus.unfollow('nobody')
    })
  })
}
