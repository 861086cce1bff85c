import postgres from 'postgres'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { unseal } from '../../src/bus/envelope.ts'
import { type Published, Relay, type RelayOptions } from '../../src/bus/relay.ts'
import { Subjects } from '../../src/bus/subjects.ts'
import { createLogger } from '../../src/observability/log.ts'
import { parseConnectionUrl } from '../../src/postgres/connection-url.ts'
import { channelOf } from '../support/channel.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { FakeNats } from '../support/fake-link.ts'
import { insertStory, insertViews } from '../support/sql-writer.ts'

const PATIENCE = { timeout: 30_000, interval: 20 }

let database: TestDatabase
let sql: postgres.Sql
beforeAll(async () => {
  database = await createDatabase()
  sql = postgres(database.url, { max: 2, onnotice: () => {} })
})
afterAll(async () => {
  await sql.end()
  await database.drop()
})

const subjects = new Subjects('test')
const relays: Relay[] = []
afterEach(async () => {
  await Promise.all(relays.splice(0).map((relay) => relay.close()))
})

/** Relays over one NATS, which are started; by default of one namespace. */
function start(nats: FakeNats, count: number, options: Partial<RelayOptions> = {}) {
  return Array.from({ length: count }, (_, n) => {
    const link = nats.link()
    const relay = new Relay({
      connection: parseConnectionUrl(database.url),
      link,
      subjects,
      namespace: 'test',
      name: `relay ${n}`,
      log: createLogger('silent'),
      lingerMs: 0,
      ...options,
    })
    relays.push(relay)
    relay.start()
    return { relay, link }
  })
}

type Started = ReturnType<typeof start>[number]
const elected = (started: readonly Started[]) => started.filter(({ relay }) => relay.relaying)

async function oneOf(started: readonly Started[]): Promise<Started> {
  await expect.poll(() => elected(started).length, PATIENCE).toBe(1)
  return elected(started)[0] as Started
}

const gaps = ({ published }: FakeNats) => published.filter((each) => each.startsWith(`${subjects.gap} `))
const eventsFor = ({ published }: FakeNats, user: string) =>
  published.filter((each) => each.startsWith(`${subjects.user(user)} `))

let users = 0
/** An event of a new user, and where it is published. */
async function event(): Promise<string> {
  const author = `alice ${++users}`
  await insertViews(sql, await insertStory(sql, author), ['bob'])
  return author
}

const terminate = () => sql`
  select pg_terminate_backend(l.pid) from pg_locks l
   where l.locktype = 'advisory' and l.granted and l.classid::bigint = ${0x676c_696d}::bigint
     and l.database = (select oid from pg_database where datname = current_database())`

/** A relay over a session that does what a test says. */
async function overFakeSession(lingerMs: number) {
  const nats = new FakeNats()
  const rests: number[] = []
  const published: Published[] = []
  let onPayload = (_: string) => {}
  const [{ relay, link }] = start(nats, 1, {
    name: 'relay',
    lingerMs,
    onPublished: (once) => published.push(once),
    openSession: async (options) => {
      onPayload = options.onPayload
      return {
        heard: { epoch: 'e1', channel: 'secret' },
        notify: async (payload) => {
          onPayload(payload)
          return { epoch: 'e1', channel: 'secret' }
        },
        rest: (milliseconds) => void rests.push(milliseconds),
        end: () => {},
      }
    },
  }) as [Started]
  await expect.poll(() => relay.relaying, PATIENCE).toBe(true)
  const turn = () => new Promise((resolve) => setImmediate(resolve))
  return { nats, link, rests, published, hear: (payload: string) => onPayload(payload), turn }
}

describe('of several relays', () => {
  it('one works, and publishes each event once', async () => {
    const nats = new FakeNats()
    await oneOf(start(nats, 3))
    expect(gaps(nats)).not.toEqual([])
    const author = await event()
    await expect.poll(() => eventsFor(nats, author).length, PATIENCE).toBe(1)
    const later = await event()
    await expect.poll(() => eventsFor(nats, later).length, PATIENCE).toBe(1)
    expect(eventsFor(nats, author)).toHaveLength(1)
  })

  it('another takes over where it closes, and tells of the gap', async () => {
    const nats = new FakeNats()
    const all = start(nats, 2)
    const first = await oneOf(all)
    const before = gaps(nats).length
    await first.relay.close()
    const second = await oneOf(all)
    expect(second).not.toBe(first)
    expect(gaps(nats).length).toBeGreaterThan(before)
    const author = await event()
    await expect.poll(() => eventsFor(nats, author).length, PATIENCE).toBe(1)
  })

  it('one takes over where Postgres ends its session', async () => {
    const nats = new FakeNats()
    const all = start(nats, 2)
    await oneOf(all)
    const before = gaps(nats).length
    await terminate()
    await expect.poll(() => gaps(nats).length, PATIENCE).toBeGreaterThan(before)
    await oneOf(all)
    const author = await event()
    await expect.poll(() => eventsFor(nats, author).length, PATIENCE).toBe(1)
  })

  it('a standby ends one that is silent, and takes over', async () => {
    const nats = new FakeNats()
    const [silent] = start(nats, 1) as [Started]
    await oneOf([silent])
    // As a process that is stopped, or whose way to NATS is cut without a sign: it holds the lock and says nothing.
    silent.link.publish = () => {}
    const [standby] = start(nats, 1) as [Started]
    await expect.poll(() => standby.relay.relaying, PATIENCE).toBe(true)
    await expect.poll(() => silent.relay.relaying, PATIENCE).toBe(false)
  })

  it('a standby whose own way to NATS does not answer ends nobody', async () => {
    const nats = new FakeNats()
    let later = 0
    const [holder] = start(nats, 1) as [Started]
    await oneOf([holder])
    const [deaf] = start(nats, 1, { now: () => performance.now() + later }) as [Started]
    deaf.link.roundTrip = vi.fn(async () => false)
    deaf.link.hear = () => {}
    // Silence for as long as it asks, and more.
    later = 10_000
    await expect.poll(() => vi.mocked(deaf.link.roundTrip).mock.calls.length, PATIENCE).toBeGreaterThan(2)
    expect([holder.relay.relaying, deaf.relay.relaying]).toEqual([true, false])
  })

  it('one whose link is down does not ask for the lock, nor one whose link goes down while it asks', async () => {
    const nats = new FakeNats()
    let elections = 0
    const onRelaying = (relaying: boolean) => {
      if (relaying) elections++
    }
    const all = start(nats, 3, { onRelaying })
    const first = await oneOf(all)
    for (const each of all) if (each !== first) each.link.down()
    await first.relay.close()
    const [third] = start(nats, 1) as [Started]
    await expect.poll(() => third.relay.relaying, PATIENCE).toBe(true)
    expect(elections).toBe(1)
  })

  it('one whose link goes down while its session opens gives the lock back', async () => {
    const nats = new FakeNats()
    const onRelaying = vi.fn()
    const end = vi.fn()
    start(nats, 1, {
      onRelaying,
      openSession: async () => {
        nats.links[0]?.down()
        return { heard: { epoch: 'e1', channel: 'secret' }, notify: vi.fn(), rest: vi.fn(), end }
      },
    })
    await expect.poll(() => end.mock.calls.length, PATIENCE).toBe(1)
    expect(onRelaying).not.toHaveBeenCalled()
  })

  it('one that may not publish does not ask for the lock, and says what is missing', async () => {
    const nats = new FakeNats()
    const said: string[] = []
    const log = createLogger('silent')
    log.error = (...args: unknown[]) => void said.push(String(args.at(-1)))
    const link = nats.link()
    link.publish = () => {}
    const [refused] = start(nats, 1, { log, link }) as [Started]
    await expect.poll(() => said, PATIENCE).toEqual([expect.stringContaining('set BUS_RELAY=off')])
    const [allowed] = start(nats, 1) as [Started]
    await expect.poll(() => allowed.relay.relaying, PATIENCE).toBe(true)
    expect(refused.relay.relaying).toBe(false)
  })

  it('one that may not publish, or reaches neither Postgres nor NATS, says that it could not take over', async () => {
    const nats = new FakeNats()
    const [first] = start(nats, 1) as [Started]
    await oneOf([first])
    const [standby] = start(nats, 1) as [Started]
    const mute = nats.link()
    mute.publish = () => {}
    const [refused] = start(nats, 1, { link: mute, name: 'mute' }) as [Started]
    const said: unknown[] = []
    const log = createLogger('silent')
    log.warn = (...args: unknown[]) => void said.push(args)
    const connection = parseConnectionUrl('postgres://nobody@127.0.0.1:1/nowhere')
    const [stranded] = start(nats, 1, { connection, log }) as [Started]
    await expect
      .poll(() => [first, standby, refused, stranded].map(({ relay }) => relay.problem), PATIENCE)
      .toEqual([
        undefined,
        undefined,
        expect.stringMatching(/publish nothing/),
        expect.stringMatching(/Postgres/),
      ])
    // Said once, however often it tries.
    await expect.poll(() => said, PATIENCE).toHaveLength(1)
    expect(said).toEqual([
      [{ reason: expect.stringContaining('127.0.0.1') }, 'the relay cannot listen to Postgres; trying again'],
    ])
    standby.link.down()
    expect(standby.relay.problem).toBe('no connection to NATS')
  })

  it('one of another database in the same namespace is reported, but not at a failover, where it beats for a moment', async () => {
    const nats = new FakeNats()
    const said: string[] = []
    const log = createLogger('silent')
    log.error = (...args: unknown[]) => void said.push(String(args.at(-1)))
    let later = 0
    const [relay] = start(nats, 1, { log, now: () => performance.now() + later }) as [Started]
    await oneOf([relay])
    const beatFor = (seconds: number) => {
      for (let n = 0; n < seconds; n++) {
        nats.deliver(subjects.beat, 'beat of another database')
        later += 1000
      }
    }
    beatFor(5)
    later += 60_000
    beatFor(5)
    expect(said).toEqual([])
    beatFor(20)
    expect(said).toEqual([expect.stringContaining('its own BUS_NAMESPACE')])
    await expect.poll(() => nats.published.some((text) => /beat beat \w+\.?/.test(text)), PATIENCE).toBe(true)
  })

  it('those of another namespace work beside it', async () => {
    const nats = new FakeNats()
    const [one] = start(nats, 1)
    const [other] = start(nats, 1, { namespace: 'other', subjects: new Subjects('other') })
    await expect.poll(() => [one?.relay.relaying, other?.relay.relaying], PATIENCE).toEqual([true, true])
  })
})

describe('a relay', () => {
  it('publishes nothing while NATS is away, and a gap once it is back', async () => {
    const { nats, link, hear, turn } = await overFakeSession(10)
    link.down()
    hear('bob\t1\t0\t{"seq":1}\n\t6')
    await turn()
    const before = nats.published.length
    link.comeUp()
    expect(nats.published.slice(before)).toEqual([`${subjects.gap} e1`])
    hear('bob\t2\t6\t{"seq":2}\n\t7')
    await turn()
    expect(eventsFor(nats, 'bob')).toEqual([expect.stringContaining('"seq":2')])
  })

  it('survives whatever is notified on its channel', async () => {
    const nats = new FakeNats()
    const [one] = start(nats, 1) as [Started]
    await oneOf([one])
    const channel = await channelOf(sql)
    for (const text of [
      '\t',
      '\n',
      '\n\t',
      'a',
      'a\t',
      '\trelay\t',
      '\trelay\trelay 0\t1',
      '\tclose\t',
      'a\t\n\t\n\t',
    ])
      await sql`select pg_notify(${channel}, ${text})`
    const author = await event()
    await expect.poll(() => eventsFor(nats, author).length, PATIENCE).toBe(1)
    expect(one.relay.relaying).toBe(true)
  })

  it('gives up a session that no longer hears itself', async () => {
    const nats = new FakeNats()
    const [one] = start(nats, 1) as [Started]
    await oneOf([one])
    await sql`select glimpse.new_history()`
    // Its session listens to a channel on which nobody notifies any more.
    const [epochBefore] = gaps(nats)
    await expect.poll(() => gaps(nats).at(-1), PATIENCE).not.toBe(epochBefore)
  })
})

describe('lingering', () => {
  it('publishes what was read together in one message for each user, and then rests', async () => {
    const { nats, rests, hear, turn, published } = await overFakeSession(10)
    for (const n of [1, 2, 3]) hear(`alice\t${n}\t\t{"seq":${n}}\n\t5`)
    hear('bob\t1\t0\t{"seq":1}\n\t6')
    expect([eventsFor(nats, 'alice'), rests]).toEqual([[], []])
    await turn()
    const [message = '', ...more] = eventsFor(nats, 'alice')
    expect(more).toEqual([])
    const { epoch, payloads } = unseal(message.slice(message.indexOf(' ') + 1))
    expect([epoch, payloads.length, eventsFor(nats, 'bob').length, rests]).toEqual(['e1', 3, 1, [10]])
    const bytes = nats.published
      .filter((text) => !/\.(?:gap|beat) /.test(text))
      .reduce((sum, text) => sum + Buffer.byteLength(text.slice(text.indexOf(' ') + 1)), 0)
    expect(published.filter(({ notifications }) => notifications === 4)).toEqual([
      { notifications: 4, messages: 2, bytes },
    ])
  })

  it('rests not at all where BUS_LINGER_MS is 0', async () => {
    const { nats, rests, hear, turn } = await overFakeSession(0)
    hear('bob\t1\t0\t{"seq":1}\n\t6')
    await turn()
    expect([eventsFor(nats, 'bob').length, rests]).toEqual([1, []])
  })
})
