import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { PostgresBus, type PostgresBusOptions } from '../../src/bus/postgres-bus.ts'
import { createLogger } from '../../src/observability/log.ts'
import { parseConnectionUrl } from '../../src/postgres/connection-url.ts'
import type { ListenOptions } from '../../src/postgres/listen-session.ts'
import { bodyOf } from '../support/stream-state.ts'

vi.mock('node:timers/promises', async () => (await import('../support/promised-timers.ts')).promisedTimers)

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'] })
  vi.spyOn(Math, 'random').mockReturnValue(1)
})
afterEach(async () => {
  await bus?.close()
  bus = undefined
  vi.useRealTimers()
  vi.restoreAllMocks()
})

const INTERVAL_MS = 1500
const TIMEOUT_MS = 2500

let bus: PostgresBus | undefined

/** A database of which tests say what it does, with the sessions that were opened to it. */
function world() {
  const sessions: {
    options: ListenOptions
    ended: number
    answers: boolean
    endedAt: number
    rests: number[]
  }[] = []
  const state = {
    epoch: 'e1',
    channel: 'secret',
    /** Whether a session can be opened; whether what is notified arrives; whether it can be sent. */
    opens: true,
    arrives: true,
    sends: true,
    /** When a session was asked for. */
    attempts: [] as number[],
    sent: [] as string[],
    gaps: [] as string[],
    alive: [] as boolean[],
    calls: 0,
    queued: 0,
    pushed: 0,
    replaced: 0,
    said: [] as string[],
  }
  const log = createLogger('silent')
  log.warn = (...args: unknown[]) => void state.said.push(String(args.at(-1)))
  log.info = (...args: unknown[]) => void state.said.push(String(args.at(-1)))
  const options: PostgresBusOptions = {
    connection: parseConnectionUrl('postgres://u@127.0.0.1/db'),
    log,
    instance: 'here',
    now: () => Date.now(),
    canaryIntervalMs: INTERVAL_MS,
    canaryTimeoutMs: TIMEOUT_MS,
    onAlive: (alive) => state.alive.push(alive),
    onReplaced: () => state.replaced++,
    listener: {
      recipient: (user) =>
        user === 'here'
          ? {
              push: (_, { bodies }) => {
                state.pushed += bodies.length
              },
              announce: () => {},
              markRead: () => {},
            }
          : undefined,
      onHandedOn: () => {},
      onCall: () => state.calls++,
      onQueued: () => state.queued++,
      onGap: (epoch) => state.gaps.push(epoch),
      onDoubt: () => {},
    },
    openSession: async (options) => {
      state.attempts.push(Date.now())
      if (!state.opens) throw new Error('connection refused')
      const session = { options, ended: 0, answers: true, endedAt: 0, rests: [] as number[] }
      sessions.push(session)
      return {
        heard: { epoch: state.epoch, channel: state.channel },
        answers: async () => session.answers,
        rest: (milliseconds) => session.rests.push(milliseconds),
        end: () => {
          session.ended++
          session.endedAt = Date.now()
        },
      }
    },
    notify: async (payload) => {
      state.sent.push(payload)
      if (!state.sends) throw new Error('too many clients')
      const { epoch, channel } = state
      if (state.arrives) queueMicrotask(() => sessions.at(-1)?.options.onPayload(payload))
      return { epoch, channel, clockMs: Date.now() }
    },
  }
  bus = new PostgresBus(options)
  return { bus, state, sessions, session: (nth: number) => sessions[nth] as (typeof sessions)[number] }
}

async function started() {
  const made = world()
  await made.bus.start()
  return made
}

const pass = (milliseconds: number) => vi.advanceTimersByTimeAsync(milliseconds)

it('is live once its first canary has come back, and sends one after each interval', async () => {
  const { bus, state, sessions } = await started()
  expect([bus.alive, state.alive, state.gaps]).toEqual([true, [true], ['e1']])
  await pass(3 * INTERVAL_MS)
  expect(state.sent).toHaveLength(4)
  expect(new Set(state.sent).size).toBe(4)
  expect([sessions.length, state.replaced, state.said]).toEqual([1, 0, ['the bus is live']])
})

it.each([
  ['another history', { epoch: 'e2' }],
  ['another channel', { channel: 'other' }],
])('replaces a session that hears of %s than is written', async (_what, change) => {
  const { bus, state, sessions, session } = await started()
  Object.assign(state, change)
  await pass(INTERVAL_MS)
  expect(sessions).toHaveLength(2)
  expect(session(0).ended).toBe(1)
  expect([bus.alive, state.alive]).toEqual([true, [true, false, true]])
  expect(state.gaps).toEqual(['e1', state.epoch])
  await pass(3 * INTERVAL_MS)
  expect(sessions).toHaveLength(2)
})

it('replaces a session whose canary is late, not before, and ends the old one', async () => {
  const { bus, state, sessions, session } = await started()
  state.arrives = false
  await pass(INTERVAL_MS + TIMEOUT_MS - 1)
  expect([bus.alive, sessions.length, session(0).ended]).toEqual([true, 1, 0])
  state.arrives = true
  await pass(1)
  expect([bus.alive, sessions.length, session(0).ended, state.replaced]).toEqual([true, 2, 1, 1])
  expect(state.gaps).toEqual(['e1', 'e1'])
})

it('takes neither another instance’s canary nor an old one of its own for the one it waits for', async () => {
  const { state, sessions, session } = await started()
  state.arrives = false
  await pass(INTERVAL_MS)
  for (const payload of [`\tthere\t${Date.now()}`, state.sent[0] ?? '', '\there', '\t', '\there\t'])
    session(0).options.onPayload(payload)
  await pass(TIMEOUT_MS)
  expect(sessions).toHaveLength(2)
})

it('replaces a session that ends, at once, whether or not a canary is under way', async () => {
  const { state, sessions, session } = await started()
  session(0).options.onClosed()
  await pass(0)
  expect([sessions.length, state.gaps]).toEqual([2, ['e1', 'e1']])
  state.arrives = false
  await pass(INTERVAL_MS)
  state.arrives = true
  session(1).options.onClosed()
  await pass(0)
  expect(sessions).toHaveLength(3)
})

it('waits longer after each refusal, up to two seconds, and begins anew after a success', async () => {
  const { state, session } = await started()
  state.opens = false
  const since = Date.now()
  session(0).options.onClosed()
  await pass(12_000)
  const pauses = (from: number) =>
    state.attempts
      .slice(from)
      .map((at, i, all) => at - (all[i - 1] ?? at))
      .slice(1)
  expect(state.attempts[1]).toBe(since)
  expect(pauses(1)).toEqual([50, 100, 200, 400, 800, 1600, 2000, 2000, 2000, 2000])
  state.opens = true
  await pass(2000)
  expect(bus?.alive).toBe(true)
  const before = state.attempts.length
  state.opens = false
  session(1).options.onClosed()
  await pass(400)
  expect(pauses(before)).toEqual([50, 100, 200])
})

it('spreads the attempts of many instances', async () => {
  vi.spyOn(Math, 'random').mockReturnValue(0)
  const { state, session } = await started()
  state.opens = false
  session(0).options.onClosed()
  await pass(200)
  expect(state.attempts.slice(1).map((at) => at - (state.attempts[1] ?? 0))).toEqual([0, 25, 75, 175])
})

it('says two lines of an outage, however long, and one of its end', async () => {
  const { state, session } = await started()
  state.opens = false
  session(0).options.onClosed()
  await pass(60_000)
  expect(state.said).toHaveLength(3)
  state.opens = true
  await pass(2000)
  expect(state.said.filter((line) => line === 'the bus is live')).toHaveLength(2)
  expect(state.said).toHaveLength(4)
})

it('keeps a session that answers while no canary can be sent, and is not live', async () => {
  const { bus, state, sessions, session } = await started()
  state.sends = false
  await pass(5 * INTERVAL_MS)
  expect([bus.alive, sessions.length, session(0).ended]).toEqual([false, 1, 0])
  session(0).answers = false
  await pass(INTERVAL_MS)
  expect([sessions.length, session(0).ended]).toEqual([2, 1])
  state.sends = true
  await pass(INTERVAL_MS)
  expect(bus.alive).toBe(true)
})

it('hands a call on that names this instance alone', async () => {
  const { state, session } = await started()
  for (const payload of ['\tclose\there', '\tclose\tthere', '\tclose\t*', '\tclose\t', 'close\there'])
    session(0).options.onPayload(payload)
  expect(state.calls).toBe(1)
})

describe('where notifications come thick', () => {
  const at = 1763906000123456
  const events = (user: string, from: number) =>
    Array.from(
      { length: 20 },
      (_, n) => `${user}\t${from + n}\t${n === 0 ? '0' : ''}\t${bodyOf(from + n)}\n\t${at}`,
    )

  it('reading rests if they are for users of other instances', async () => {
    const { session } = await started()
    for (const payload of events('elsewhere', 1)) session(0).options.onPayload(payload)
    await pass(0)
    expect(session(0).rests).toEqual([10])
  })

  it('reading goes on if they are for users who are here', async () => {
    const { session, state } = await started()
    for (const payload of events('here', 1)) session(0).options.onPayload(payload)
    await pass(0)
    expect(state.pushed).toBe(20)
    expect(session(0).rests).toEqual([])
  })
})

it('closes: ends its session, and sends and opens nothing any more', async () => {
  const { bus, state, sessions, session } = await started()
  await bus.close()
  expect([bus.alive, session(0).ended]).toEqual([false, 1])
  session(0).options.onClosed()
  await pass(10 * INTERVAL_MS)
  expect([sessions.length, state.sent.length]).toEqual([1, 1])
})

it('closes in the middle of its attempts', async () => {
  const { bus, state, session } = await started()
  state.opens = false
  session(0).options.onClosed()
  await pass(500)
  const closed = bus.close()
  await pass(0)
  await closed
  const attempts = state.attempts.length
  await pass(10_000)
  expect(state.attempts).toHaveLength(attempts)
})

it('does not start where nothing can be listened to', async () => {
  const { bus, state } = world()
  state.opens = false
  await expect(bus.start()).rejects.toThrow('LISTEN failed: connection refused')
})

it('does not start where the first canary does not come, and leaves no session behind', async () => {
  const { bus, state, session } = world()
  state.arrives = false
  const refused = expect(bus.start()).rejects.toThrow('did not arrive here')
  await pass(TIMEOUT_MS)
  await refused
  expect(session(0).ended).toBe(1)
})
