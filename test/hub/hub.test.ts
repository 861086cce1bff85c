import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { ResumePoint } from '../../src/event.ts'
import { Hub, type HubOptions, type Registration } from '../../src/hub/hub.ts'
import type { Sink } from '../../src/hub/sink.ts'
import { createLogger } from '../../src/observability/log.ts'
import { createMetrics } from '../../src/observability/metrics.ts'
import { FakeLog } from '../support/fake-log.ts'

const NETWORK = '192.0.2.1'
const HOUR_MS = 3_600_000

const LIMITS: HubOptions['limits'] = {
  outboxMaxBytes: 100,
  heartbeatIntervalMs: 20_000,
  stallTimeoutMs: 60_000,
  maxConnections: 100,
  maxConnectionsPerUser: 100,
  maxConnectionsPerAddress: 100,
}

/** The far end of a connection, and what it was told. */
class Socket implements Sink {
  readonly transport: Sink['transport']
  readonly codec = { encode: (_: readonly string[], bodies: readonly string[]) => `${bodies.length} events` }
  readonly told: string[] = []
  readonly retries: number[] = []
  unsent = 0
  sent = 0

  constructor(transport: Sink['transport'] = 'sse') {
    this.transport = transport
  }

  write(frames: string): void {
    this.told.push(frames)
  }

  control({ type }: { readonly type: string }): void {
    if (type !== 'stream.open') this.told.push(type)
  }

  heartbeat(): boolean {
    this.told.push('heartbeat')
    return true
  }

  close(reason: string, retryMs: number): void {
    this.told.push(`closed ${reason}`)
    this.retries.push(retryMs)
  }

  destroy(): void {
    this.told.push('destroyed')
  }
}

interface Client extends Registration {
  readonly socket: Socket
}

class World {
  readonly eventLog = new FakeLog(200)
  readonly metrics = createMetrics()
  /** What was recorded of the open connections. */
  readonly presence: string[] = []
  /** What was logged: the level, the fields and the words. */
  readonly logged: [level: string, fields: unknown, words: string][] = []
  readonly hub: Hub

  constructor(limits: Partial<HubOptions['limits']> = {}) {
    const log = createLogger('silent')
    log.warn = (...[fields, words]: unknown[]) =>
      void this.logged.push(
        words === undefined ? ['warn', {}, String(fields)] : ['warn', fields, String(words)],
      )
    log.debug = (...[fields, words]: unknown[]) => void this.logged.push(['debug', fields, String(words)])
    this.hub = new Hub({
      eventLog: this.eventLog,
      limits: { ...LIMITS, ...limits },
      clock: { wall: Date.now, monotonic: () => performance.now() },
      presence: {
        opened: ({ id }) => this.presence.push(`opened ${id}`),
        closed: (id) => this.presence.push(`closed ${id}`),
      },
      log,
      metrics: this.metrics,
    })
  }

  enter(user = 'alice', network = NETWORK, resume: ResumePoint = { from: 'now' }): Promise<Registration> {
    return this.hub.enter(user, resume, Date.now() + HOUR_MS, network)
  }

  async connect(
    user = 'alice',
    socket = new Socket(),
    resume: ResumePoint = { from: 'now' },
  ): Promise<Client> {
    const registration = await this.enter(user, NETWORK, resume)
    registration.begin(socket)
    return { ...registration, socket }
  }

  /** The values of a metric that are not 0, by their labels. */
  async counted(name: 'connections' | 'connectionsOpened' | 'connectionsClosed' | 'limited' | 'resets') {
    const { values } = await this.metrics[name].get()
    return Object.fromEntries(
      values
        .filter(({ value }) => value !== 0)
        .map(({ labels, value }) => [Object.values(labels).join(' '), value]),
    )
  }
}

let world: World
const begin = (limits?: Partial<HubOptions['limits']>) => {
  world = new World(limits)
  return world
}
beforeEach(() => void vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'Date', 'performance'] }))
afterEach(() => {
  world.hub.close()
  vi.useRealTimers()
  vi.restoreAllMocks()
})

describe('a connection is refused', () => {
  it('where the instance holds as many as it may, until one of them goes', async () => {
    const { hub } = begin({ maxConnections: 2 })
    const [first] = [await world.connect('alice'), await world.connect('bob')]
    await expect(world.enter('carol')).rejects.toMatchObject({
      code: 'full',
      details: { detail: 'This instance holds as many connections as it may.', retryAfter: 5 },
    })
    expect([hub.connections, hub.users, await world.counted('limited')]).toEqual([2, 2, { connections: 1 }])
    first.connection.gone()
    await world.enter('carol')
    expect(hub.connections).toBe(2)
  })

  it('where its network holds as many as it may, until one of them goes', async () => {
    const { hub } = begin({ maxConnectionsPerAddress: 1 })
    const first = await world.connect('alice')
    await expect(world.enter('bob')).rejects.toMatchObject({
      code: 'too_many_requests',
      details: { detail: 'This address holds as many connections as it may.', retryAfter: 5 },
    })
    await world.enter('bob', '198.51.100.7')
    expect([hub.connections, await world.counted('limited')]).toEqual([2, { address_connections: 1 }])
    first.connection.gone()
    await world.enter('bob')
  })

  it('where the instance stops', async () => {
    const { hub } = begin()
    await hub.drain(0, async () => {})
    expect(hub.draining).toBe(true)
    await expect(world.enter()).rejects.toMatchObject({
      code: 'draining',
      details: { detail: 'This instance is stopping; connect again.', retryAfter: 1 },
    })
  })

  it('where the log cannot be read, and leaves nothing behind', async () => {
    const { hub, eventLog } = begin()
    eventLog.head = () => Promise.reject(new Error('away'))
    await expect(world.enter()).rejects.toThrow('away')
    expect([hub.connections, hub.users, world.presence]).toEqual([0, 0, []])
  })
})

it('a user’s oldest connections are replaced where there are more than a user may have', async () => {
  begin({ maxConnectionsPerUser: 2 })
  const clients = [await world.connect(), await world.connect()]
  expect(clients.map(({ socket }) => socket.told)).toEqual([[], []])
  clients.push(await world.connect(), await world.connect('bob'))
  expect(clients.map(({ socket }) => socket.told)).toEqual([['closed replaced'], [], [], []])
})

describe('what is counted and recorded', () => {
  it('is each connection from the beginning of its stream to its end, by transport', async () => {
    begin()
    const [first, second] = [await world.connect(), await world.connect('bob', new Socket('websocket'))]
    expect(world.presence).toEqual([`opened ${first.connection.id}`, `opened ${second.connection.id}`])
    expect(await world.counted('connections')).toEqual({ sse: 1, websocket: 1 })
    first.connection.close('stalled')
    second.connection.gone()
    expect(world.presence.slice(2)).toEqual([
      `closed ${first.connection.id}`,
      `closed ${second.connection.id}`,
    ])
    expect(await world.counted('connections')).toEqual({})
    expect(await world.counted('connectionsOpened')).toEqual({ sse: 1, websocket: 1 })
    expect(await world.counted('connectionsClosed')).toEqual({ 'sse stalled': 1, 'websocket gone': 1 })
  })

  it('is not a connection that ended before its stream began', async () => {
    begin()
    const [left, closed] = [await world.enter(), await world.enter()]
    left.connection.gone()
    left.begin(new Socket())
    closed.connection.close('draining')
    const socket = new Socket()
    closed.begin(socket)
    expect(socket.told).toEqual(['closed draining'])
    expect([world.presence, await world.counted('connectionsOpened')]).toEqual([[], {}])
    expect(await world.counted('connectionsClosed')).toEqual({})
  })

  it('is each reset, and a hole in the log is warned of', async () => {
    const { eventLog } = begin()
    await world.connect('bob', new Socket(), { from: 'invalid' })
    expect([await world.counted('resets'), world.logged]).toEqual([{ invalid: 1 }, []])
    const stream = eventLog.stream('alice')
    stream.append(5, 1)
    stream.rows = stream.rows.filter(({ seq }) => seq !== 3)
    await world.connect('alice', new Socket(), { from: 'cursor', epoch: 'e1', seq: 3, check: 'some' })
    expect(await world.counted('resets')).toEqual({ invalid: 1, gap: 1 })
    expect(world.logged).toEqual([
      ['warn', {}, 'the log lacks events that it should have; its clients are sent stream.reset'],
    ])
  })

  it('is who is behind, by transport, and all bytes that wait to be sent', async () => {
    const { hub } = begin()
    const clients = [
      await world.connect('alice'),
      await world.connect('alice', new Socket('websocket')),
      await world.connect('bob', new Socket('durable-stream')),
      await world.connect('bob'),
    ]
    await world.enter('bob')
    for (const [nth, { socket }] of clients.entries()) socket.unsent = 101 + nth
    expect(hub.survey()).toEqual({ behind: { sse: 0, websocket: 0, 'durable-stream': 0 }, unsentBytes: 410 })
    for (const user of ['alice', 'bob']) hub.subscriber(user)?.announce('e1', 1)
    expect(hub.survey().behind).toEqual({ sse: 2, websocket: 1, 'durable-stream': 1 })
  })
})

describe('the end of one connection of a user', () => {
  it('is told to that one, and the caller hears whether it was here', async () => {
    const { hub } = begin()
    const [first, second] = [await world.connect(), await world.connect()]
    expect(hub.end('alice', second.connection.id, 'closed')).toBe(true)
    expect([first.socket.told, second.socket.told]).toEqual([[], ['closed closed']])
    expect(hub.end('alice', second.connection.id, 'closed')).toBe(false)
    expect(hub.end('bob', first.connection.id, 'closed')).toBe(false)
  })

  it('comes with its token, unless a new one came', async () => {
    begin()
    const [ends, renewed] = [await world.connect(), await world.connect()]
    renewed.renew(Date.now() + 2 * HOUR_MS)
    vi.advanceTimersByTime(HOUR_MS + 300)
    const last = ({ socket }: Client) => socket.told.at(-1)
    expect([ends, renewed].map(last)).toEqual(['closed token_expired', 'heartbeat'])
    // The new one may also end earlier.
    renewed.renew(Date.now() + 1000)
    vi.advanceTimersByTime(1300)
    expect(last(renewed)).toBe('closed token_expired')
  })

  it('comes with its token although its stream has not begun', async () => {
    const { hub } = begin()
    const early = await world.enter()
    vi.advanceTimersByTime(HOUR_MS + 300)
    expect(hub.connections).toBe(0)
    early.renew(Date.now() + HOUR_MS)
    early.begin(new Socket())
    expect([hub.connections, await world.counted('connectionsOpened')]).toEqual([0, {}])
  })
})

it.each([
  [25_000, 250],
  [400, 100],
  [20, 10],
])('connections with a heartbeat every %i ms are looked after every %i ms', async (heartbeatIntervalMs, tickMs) => {
  const every = vi.spyOn(globalThis, 'setInterval')
  begin({ heartbeatIntervalMs })
  expect(every).not.toHaveBeenCalled()
  await world.connect()
  expect(every.mock.calls.map(([, ms]) => ms)).toEqual([tickMs])
})

describe('a drain', () => {
  /** Drains so many connections within so many ms. @returns how many were left at each sleep, and how long that was */
  async function drain(connections: number, spreadMs: number) {
    begin()
    const clients: Client[] = []
    for (let n = 0; n < connections; n++) clients.push(await world.connect(`user-${n % 3}`))
    const sleeps: [left: number, ms: number][] = []
    await world.hub.drain(spreadMs, async (ms) => {
      sleeps.push([world.hub.connections, ms])
      vi.setSystemTime(Date.now() + ms)
      vi.advanceTimersByTime(ms)
    })
    return { sleeps, clients }
  }

  it('ends each connection, to be back after half a second to one and a half', async () => {
    const random = vi.spyOn(Math, 'random')
    for (const value of [0, 0.5, 1]) random.mockReturnValueOnce(value)
    const { clients } = await drain(3, 10_000)
    expect(clients.map(({ socket }) => socket.told)).toEqual(Array(3).fill(['closed draining']))
    expect(clients.flatMap(({ socket }) => socket.retries).sort((a, b) => a - b)).toEqual([500, 1000, 1500])
  })

  it('of a few takes 20 ms each, in steps of 50, and does not sleep after the last', async () => {
    expect((await drain(2, 10_000)).sleeps).toEqual([])
    expect((await drain(10, 10_000)).sleeps).toEqual([
      [7, 50],
      [5, 50],
      [2, 50],
    ])
  })

  it('of more than that takes the time that it may', async () => {
    expect((await drain(30, 150)).sleeps).toEqual([
      [20, 50],
      [10, 50],
    ])
  })

  it('without any time ends none, and close ends them all without a word', async () => {
    const { clients } = await drain(2, 0)
    expect(world.hub.connections).toBe(2)
    world.hub.close()
    expect(clients.map(({ socket }) => socket.told)).toEqual([['destroyed'], ['destroyed']])
  })

  it('does not sleep where it is late already', async () => {
    begin()
    for (let n = 0; n < 10; n++) await world.connect()
    const sleeps: number[] = []
    await world.hub.drain(10_000, async (ms) => {
      sleeps.push(ms)
      vi.advanceTimersByTime(120)
    })
    expect(sleeps).toEqual([50, 0, 0])
  })
})

it('a hub that is closed has no timer any more, and takes nobody', async () => {
  const { hub } = begin()
  await world.connect()
  expect(vi.getTimerCount()).toBe(1)
  hub.close()
  expect([vi.getTimerCount(), hub.draining]).toEqual([0, true])
})

describe('another history of the database', () => {
  it('is warned of once, and everybody is compared with it', async () => {
    const { hub, eventLog } = begin()
    const alice = await world.connect()
    hub.gap('e1')
    // The comparison that this began ends in the history in which it began.
    await hub.sweep()
    await new Promise(setImmediate)
    expect(world.logged).toEqual([])
    eventLog.epoch = 'e2'
    hub.gap('e2')
    hub.gap('e2')
    expect(world.logged).toEqual([
      ['warn', { from: 'e1', to: 'e2' }, 'the database continues in another history'],
    ])
    await hub.sweep()
    await vi.waitFor(() => expect(alice.socket.told).toEqual(['stream.reset', 'stream.read']))
    expect(await world.counted('resets')).toEqual({ epoch: 1 })
    expect(world.logged).toHaveLength(1)
  })

  it('that a page is from has nothing to say to a connection that was not moved there', async () => {
    const { hub, eventLog } = begin()
    const alice = await world.connect()
    eventLog.epoch = 'e2'
    eventLog.stream('alice').append(3, 1)
    eventLog.stream('alice').trim(3)
    hub.subscriber('alice')?.announce('e1', 1)
    await vi.waitFor(() => expect(alice.socket.told).toEqual(['stream.reset', 'stream.read']))
    expect(await world.counted('resets')).toEqual({ epoch: 1 })
    expect(world.logged.map(([level]) => level)).toEqual(['warn'])
  })

  it('resets nobody who has gone while it was read', async () => {
    const { hub, eventLog } = begin()
    const alice = await world.connect()
    eventLog.epoch = 'e2'
    const swept = hub.sweep()
    alice.connection.gone()
    await swept
    expect([alice.socket.told, await world.counted('resets')]).toEqual([[], {}])
  })

  it('that one connection meets is told to all others too', async () => {
    const { eventLog } = begin()
    const alice = await world.connect()
    eventLog.epoch = 'e2'
    await world.connect('bob')
    await vi.waitFor(() => expect(alice.socket.told[0]).toBe('stream.reset'))
  })
})

it('a page that brings nothing forward is no failure', async () => {
  const { hub } = begin()
  await world.connect()
  hub.subscriber('alice')?.announce('e1', 5)
  await vi.waitFor(() => expect(hub.traffic.pages).toBe(1))
  await hub.sweep()
  expect(world.logged).toEqual([])
})

it('a log that cannot be read is noted where it is tried again', async () => {
  const { hub, eventLog } = begin()
  await world.connect()
  const away = new Error('away')
  eventLog.page = () => Promise.reject(away)
  eventLog.heads = () => Promise.reject(away)
  hub.subscriber('alice')?.announce('e1', 1)
  await hub.sweep()
  expect(world.logged.map(([level, fields]) => [level, fields])).toEqual([
    ['debug', { err: away }],
    ['debug', { err: away }],
  ])
})
