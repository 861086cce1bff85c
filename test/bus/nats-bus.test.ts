import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { Bus } from '../../src/bus/bus.ts'
import { seal } from '../../src/bus/envelope.ts'
import { NatsBus } from '../../src/bus/nats-bus.ts'
import { Subjects } from '../../src/bus/subjects.ts'
import { createLogger } from '../../src/observability/log.ts'
import { FakeNats } from '../support/fake-link.ts'

vi.mock('node:timers/promises', async () => (await import('../support/promised-timers.ts')).promisedTimers)

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'] })
})
afterEach(async () => {
  await bus?.close()
  bus = undefined
  vi.useRealTimers()
})

const INTERVAL_MS = 1500
const TIMEOUT_MS = 2500
const CYCLE_MS = INTERVAL_MS + TIMEOUT_MS
/** The second canary goes soon after a late one. */
const SECOND_MS = INTERVAL_MS / 3 + TIMEOUT_MS
/** The half of the spread: tests have no chance in them. */
const FALLBACK_MS = 1000

const subjects = new Subjects('test')
let bus: NatsBus | undefined

/** A bus whose relay, LISTEN and Postgres do what a test says. */
function world() {
  const nats = new FakeNats()
  const link = nats.link()
  const state = {
    epoch: 'e1',
    /** The history that the relay hears of; that of the database where it is not set. */
    relayed: undefined as string | undefined,
    /** Whether canaries come back through the relay; whether they can be sent; whether LISTEN can take over, and works. */
    relays: true,
    sends: true,
    listens: true,
    hears: true,
    sent: 0,
    gaps: [] as string[],
    doubted: [] as string[][],
    alive: [] as boolean[],
    fallback: [] as boolean[],
    /** When LISTEN was opened, and closed. */
    opened: [] as number[],
    closed: [] as number[],
    followed: [] as number[],
  }
  const since = Date.now()
  const listening = (): Bus => ({
    get alive() {
      return state.hears
    },
    clock: undefined as never,
    follow: () => undefined,
    unfollow: () => {},
    start: async () => {
      state.opened.push(Date.now() - since)
      if (!state.listens) throw new Error('connection refused')
    },
    close: async () => void state.closed.push(Date.now() - since),
  })
  bus = new NatsBus({
    link,
    subjects,
    instance: 'here',
    log: createLogger('silent'),
    now: () => Date.now(),
    random: () => FALLBACK_MS / 2000,
    canaryIntervalMs: INTERVAL_MS,
    canaryTimeoutMs: TIMEOUT_MS,
    notify: async (payload) => {
      state.sent++
      if (!state.sends) throw new Error('too many clients')
      const [text = ''] = seal({ epoch: state.relayed ?? state.epoch, payloads: [payload] })
      if (state.relays) queueMicrotask(() => nats.deliver(subjects.instance('here'), text))
      return { epoch: state.epoch, channel: 'secret', clockMs: Date.now() }
    },
    openFallback: listening,
    onAlive: (alive) => state.alive.push(alive),
    onFallback: (active) => state.fallback.push(active),
    onFollowed: (milliseconds) => state.followed.push(milliseconds),
    listener: {
      recipient: () => undefined,
      onHandedOn: () => {},
      onCall: () => {},
      onQueued: () => {},
      onGap: (epoch) => state.gaps.push(epoch),
      onDoubt: (users) => state.doubted.push([...users]),
    },
  })
  return { bus, link, nats, state, since }
}

async function started() {
  const made = world()
  await made.bus.start()
  return made
}

const pass = (milliseconds: number) => vi.advanceTimersByTimeAsync(milliseconds)

/** Settles a promise whose timers are fake. */
async function settled(promise: Promise<void>): Promise<string> {
  const outcome = promise.then(
    () => 'resolved',
    (error: Error) => error.message,
  )
  await pass(10_000)
  return outcome
}

describe('a bus by NATS that starts', () => {
  it('is alive once its first canary has come back, and has told the history; LISTEN is not used', async () => {
    const { bus, state } = await started()
    expect([bus.alive, state.alive, state.gaps, state.sent]).toEqual([true, [true], ['e1'], 1])
    await pass(10 * INTERVAL_MS)
    expect([state.sent, state.opened]).toEqual([11, []])
  })

  it('waits for a relay that is about to be elected', async () => {
    const { bus, state } = world()
    state.relays = false
    const starting = bus.start()
    await pass(3000)
    state.relays = true
    expect(await settled(starting)).toBe('resolved')
    expect([bus.alive, state.opened]).toEqual([true, []])
  })

  it('listens to Postgres where NATS is away, and is ready', async () => {
    const { bus, link, state } = world()
    link.down()
    await bus.start()
    expect([bus.alive, state.opened, state.fallback]).toEqual([true, [0], [true]])
  })

  it('listens to Postgres where no relay is there, after four seconds', async () => {
    const { bus, state } = world()
    state.relays = false
    expect(await settled(bus.start())).toBe('resolved')
    expect([bus.alive, state.opened]).toEqual([true, [4000]])
  })

  it('does not start where LISTEN cannot take over either, and says why', async () => {
    const { bus, link, state } = world()
    link.down()
    state.listens = false
    await expect(bus.start()).rejects.toThrow('connection refused')
    expect(bus.alive).toBe(false)
  })
})

describe('a late canary', () => {
  it('leaves the instance ready, and has LISTEN take over after a part of two seconds', async () => {
    const { bus, state } = await started()
    state.relays = false
    await pass(CYCLE_MS + FALLBACK_MS - 1)
    expect([bus.alive, state.opened]).toEqual([true, []])
    await pass(1)
    expect([bus.alive, state.opened, state.fallback]).toEqual([true, [CYCLE_MS + FALLBACK_MS], [true]])
    await pass(10 * CYCLE_MS)
    expect([state.alive, state.opened.length]).toEqual([[true], 1])
  })

  it('followed by a good one before that changes nothing', async () => {
    const { state } = await started()
    state.relays = false
    await pass(CYCLE_MS)
    state.relays = true
    await pass(10 * CYCLE_MS)
    expect([state.alive, state.opened]).toEqual([[true], []])
  })

  it('followed by another makes the instance unready only where LISTEN cannot take over; it is tried again', async () => {
    const { bus, state } = await started()
    state.relays = false
    state.listens = false
    await pass(CYCLE_MS + SECOND_MS - 1)
    expect(bus.alive).toBe(true)
    await pass(1)
    expect([bus.alive, state.alive]).toEqual([false, [true, false]])
    expect(state.opened.length).toBeGreaterThan(1)
    state.listens = true
    await pass(FALLBACK_MS)
    expect([bus.alive, state.alive]).toEqual([true, [true, false, true]])
  })

  it('is what the readiness of LISTEN stands for, once that has taken over', async () => {
    const { bus, state } = await started()
    state.relays = false
    await pass(3 * CYCLE_MS)
    state.hears = false
    expect(bus.alive).toBe(false)
    await pass(CYCLE_MS)
    expect(state.alive).toEqual([true, false])
    state.hears = true
    expect(bus.alive).toBe(true)
  })

  it('is forgotten after three good ones: LISTEN is left then, and no sooner', async () => {
    const { bus, state } = await started()
    state.relays = false
    await pass(3 * CYCLE_MS)
    state.relays = true
    await pass(INTERVAL_MS * 2 + 1)
    expect([state.closed, state.fallback]).toEqual([[], [true]])
    await pass(INTERVAL_MS)
    expect([state.closed.length, state.fallback]).toEqual([1, [true, false]])
    await pass(10 * CYCLE_MS)
    expect([bus.alive, state.alive, state.opened.length]).toEqual([true, [true], 1])
  })

  it('begins the count of good ones anew', async () => {
    const { state } = await started()
    /** Until so many more canaries were sent, and came back if they do. */
    const canaries = async (count: number) => {
      for (const until = state.sent + count; state.sent < until; ) await pass(100)
    }
    state.relays = false
    await pass(3 * CYCLE_MS)
    await canaries(1)
    await pass(TIMEOUT_MS)
    state.relays = true
    await canaries(2)
    state.relays = false
    await canaries(1)
    await pass(TIMEOUT_MS)
    state.relays = true
    await canaries(2)
    expect(state.closed).toEqual([])
    await canaries(1)
    expect(state.closed).toHaveLength(1)
  })

  it('that could not be sent makes the instance unready, and LISTEN is not tried: it would fare no better', async () => {
    const { bus, state } = await started()
    state.sends = false
    await pass(10 * INTERVAL_MS)
    expect([bus.alive, state.alive, state.opened]).toEqual([false, [true, false], []])
    state.sends = true
    await pass(INTERVAL_MS)
    expect([bus.alive, state.alive]).toEqual([true, [true, false, true]])
  })

  it('is one that comes back from another history than is written', async () => {
    const { state } = await started()
    Object.assign(state, { epoch: 'e2', relayed: 'e1' })
    await pass(INTERVAL_MS + FALLBACK_MS)
    expect([state.gaps, state.opened.length]).toEqual([['e1'], 1])
    state.relayed = undefined
    await pass(INTERVAL_MS)
    expect(state.gaps).toEqual(['e1', 'e2'])
  })
})

describe('a link that comes up again', () => {
  it('tells of the gap, has the heads read once more, and loses no canary that is waited for', async () => {
    const { bus, link, state } = await started()
    await bus.follow('alice')
    await pass(2000)
    state.doubted.length = 0
    link.down()
    await pass(INTERVAL_MS + 1000)
    const sent = state.sent
    link.comeUp()
    expect(state.gaps).toEqual(['e1', 'e1'])
    await pass(0)
    expect(state.sent).toBe(sent + 1)
    await pass(CYCLE_MS)
    expect([state.doubted, state.opened, state.alive]).toEqual([[['alice']], [], [true]])
  })

  it('does so too where another begins to relay', async () => {
    const { nats, state } = await started()
    nats.deliver(subjects.gap, 'e1')
    expect(state.gaps).toEqual(['e1', 'e1'])
  })

  it('takes another history from a canary alone: the relay of another database may use the namespace too', async () => {
    const { nats, state } = await started()
    const sent = state.sent
    nats.deliver(subjects.gap, 'of another database')
    await pass(0)
    expect([state.gaps, state.sent]).toEqual([['e1'], sent + 1])
    state.epoch = 'e2'
    nats.deliver(subjects.gap, 'e2')
    await pass(0)
    expect(state.gaps).toEqual(['e1', 'e2'])
  })
})

describe('following', () => {
  it('waits for one round trip, whoever else is followed in that turn', async () => {
    const { bus, link, state } = await started()
    link.answers = false
    const followed = Array.from({ length: 100 }, (_, n) => bus.follow(`user ${n}`))
    let all = false
    void Promise.all(followed).then(() => {
      all = true
    })
    await pass(5)
    expect([link.trips, all]).toEqual([1, false])
    link.answer()
    await pass(0)
    expect([all, state.followed.length, state.followed[0]]).toEqual([true, 100, 5])
    expect(link.subjects).toEqual(expect.arrayContaining([subjects.user('user 0'), subjects.user('user 99')]))
  })

  it('waits a second at most', async () => {
    const { bus, link, state } = await started()
    link.answers = false
    let done = false
    void bus.follow('alice')?.then(() => {
      done = true
    })
    await pass(999)
    expect(done).toBe(false)
    await pass(1)
    expect([done, state.followed]).toEqual([true, []])
  })

  it('has a second connection of the user wait for the same, and a later one for nothing', async () => {
    const { bus, link } = await started()
    link.answers = false
    const first = bus.follow('alice')
    expect(bus.follow('alice')).toBe(first)
    await pass(0)
    link.answer()
    await first
    expect(bus.follow('alice')).toBeUndefined()
    expect([link.trips, link.subjects.filter((each) => each === subjects.user('alice')).length]).toEqual([
      1, 1,
    ])
  })

  it('holds nobody up while NATS is away, and is in force once it is back', async () => {
    const { bus, link } = await started()
    link.down()
    expect(bus.follow('alice')).toBeUndefined()
    expect(link.subjects).toContain(subjects.user('alice'))
  })

  it('ends with the last connection', async () => {
    const { bus, link } = await started()
    await bus.follow('alice')
    bus.unfollow('alice')
    expect(link.subjects).not.toContain(subjects.user('alice'))
  })

  it('has the heads of newcomers read once more a second later, many together', async () => {
    const { bus, state } = await started()
    for (const user of ['a', 'b']) await bus.follow(user)
    await pass(200)
    await bus.follow('c')
    await pass(100)
    await bus.follow('d')
    await pass(949)
    expect(state.doubted).toEqual([])
    await pass(1)
    expect(state.doubted).toEqual([['a', 'b', 'c']])
    await pass(300)
    expect(state.doubted).toEqual([['a', 'b', 'c'], ['d']])
  })
})

it('closes: LISTEN too, and nothing is asked any more', async () => {
  const { bus, link, state } = await started()
  await bus.follow('alice')
  state.relays = false
  await pass(3 * CYCLE_MS)
  const closed = bus.close()
  await pass(0)
  await closed
  const { sent } = state
  await pass(10 * CYCLE_MS)
  expect([bus.alive, state.closed.length, state.sent, link.subjects, state.doubted]).toEqual([
    false,
    1,
    sent,
    [],
    [['alice']],
  ])
})
