import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { contextOf } from '../../src/client/context.ts'
import { Delivery } from '../../src/client/delivery.ts'
import type { Session } from '../../src/client/session.ts'
import type { ConnectOptions, Message } from '../../src/client/types.ts'
import { pass } from '../support/fake-client.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

const event = (seq: number, epoch = 'e1'): Message =>
  ({ id: `${epoch}.${seq}.x`, seq, type: 'story.viewed', data: {}, timestamp: '' }) as Message

const open = (seq: number, unread = 0): Message => ({
  type: 'stream.open',
  data: {
    cursor: `e1.${seq}.x`,
    oldest: 1,
    resumed: false,
    heartbeat_ms: 15_000,
    read: `e1.${seq - unread}.x`,
    unread,
  },
})

/** What a stream makes of messages: what it tells, saves and does to the connection. */
function scene(options: Partial<ConnectOptions> = {}) {
  const told: unknown[] = []
  const saves: [cursor: string, reset: boolean][] = []
  const session = { opened: vi.fn(), interrupt: vi.fn(), closeMessage: undefined as unknown }
  const all: ConnectOptions = {
    url: 'http://service.test',
    store: { load: () => undefined, save: (cursor, reset) => void saves.push([cursor, reset]) },
    onEvent: ({ seq }) => void told.push(seq),
    onReset: ({ reason }) => void told.push(reason),
    onGap: (gap) => void told.push(gap),
    onUnread: (unread) => void told.push(`${unread} unread`),
    ...options,
  }
  const fail = vi.fn()
  const observer = { opened: vi.fn(), onControl: vi.fn(), busy: vi.fn() }
  const delivery = new Delivery(contextOf(all, new AbortController().signal, fail), all, observer)
  const take = async (...messages: Message[]) => {
    for (const message of messages) await delivery.take(message, session as never as Session)
  }
  return { delivery, take, told, saves, session, observer, fail }
}

describe('a stream begins', () => {
  it.each([
    ['where the service says', 'now', undefined],
    ['where the service says if nothing is asked', undefined, undefined],
    ['with the oldest event', 'oldest', '0'],
    ['after a cursor', 'e1.4.x', 'e1.4.x'],
  ])('%s', (_, after, cursor) => {
    expect(scene({ after }).delivery.cursor).toBe(cursor)
  })

  it.each([
    ['after the saved cursor', 'e1.7.x', 'now', 'e1.7.x'],
    ['where the caller says if there is none', undefined, 'e1.4.x', 'e1.4.x'],
  ])('%s', async (_, kept, after, cursor) => {
    const { delivery } = scene({ after, store: { load: () => kept, save: () => {} } })
    await delivery.restore()
    expect(delivery.cursor).toBe(cursor)
  })

  it.each([
    ['with the oldest event', 'now', '0'],
    ['after the caller’s cursor', 'e1.4.x', 'e1.4.x'],
  ])('%s where the saved one cannot be read', async (_, after, cursor) => {
    const { delivery } = scene({
      after,
      store: { load: () => Promise.reject(new Error('denied')), save: () => {} },
    })
    await delivery.restore()
    expect(delivery.cursor).toBe(cursor)
  })
})

describe('a message', () => {
  it('that opens the stream gives the cursor where there is none, and what is unread', async () => {
    const { delivery, take, told, saves, session, observer } = scene()
    await take(open(4, 1))
    expect([delivery.cursor, saves, told]).toEqual(['e1.4.x', [['e1.4.x', false]], ['1 unread']])
    expect(session.opened).toHaveBeenCalledExactlyOnceWith(15_000)
    expect(observer.opened).toHaveBeenCalledExactlyOnceWith(session)
    await take(open(9, 1))
    expect([delivery.cursor, told]).toEqual(['e1.4.x', ['1 unread']])
  })

  it('that controls the stream is shown before it takes effect; an event is not', async () => {
    const { take, observer } = scene()
    await take(open(4), event(5))
    expect(observer.onControl).toHaveBeenCalledExactlyOnceWith(open(4))
  })

  it('that closes the stream is kept for what comes after the connection', async () => {
    const { take, session } = scene()
    const data = { reason: 'draining', reconnect: true, retry_ms: 1000 } as const
    await take({ type: 'stream.close', data } as Message)
    expect(session.closeMessage).toEqual(data)
  })

  it('of a kind that this client does not know changes nothing', async () => {
    const { delivery, take, told } = scene()
    await take(open(4), { type: 'stream.future', data: {} } as never)
    expect([delivery.cursor, told]).toEqual(['e1.4.x', ['0 unread']])
  })

  it('that resets the stream moves the cursor after the handlers, and says so to the store', async () => {
    const { delivery, take, told, saves } = scene()
    await take(open(4), { type: 'stream.reset', data: { reason: 'trimmed', cursor: 'e1.2.x', oldest: 3 } })
    expect([delivery.cursor, told.at(-1), saves.at(-1)]).toEqual(['e1.2.x', 'trimmed', ['e1.2.x', true]])
  })
})

describe('an event', () => {
  it('is handled, counted and saved; one that was seen is not', async () => {
    const { take, told, saves } = scene()
    await take(open(4), event(5), event(5), event(3))
    expect(told).toEqual(['0 unread', '1 unread', 5])
    expect(saves).toEqual([
      ['e1.4.x', false],
      ['e1.5.x', false],
    ])
  })

  it('after a gap is not handled, and the connection ends, until the missing one counts as lost', async () => {
    const { take, told, session } = scene({ onUnread: undefined })
    await take(open(4), event(6), event(6), event(6))
    const gap = { expected: 5, received: 6, lost: false }
    expect(told).toEqual([gap, gap, gap])
    expect(session.interrupt.mock.calls).toEqual([['gap'], ['gap'], ['gap']])
    await take(event(6))
    expect(told.slice(3)).toEqual([{ ...gap, lost: true }, 6])
    expect(session.interrupt).toHaveBeenCalledTimes(3)
  })

  it('whose handler takes too long closes the connection, and is done all the same', async () => {
    let end = () => {}
    const { take, delivery, session, observer } = scene({
      onEvent: () => new Promise<void>((resolve) => (end = resolve)),
      timing: { handlerTimeoutMs: 1000 },
    })
    await take(open(4))
    const taken = take(event(5))
    await pass(999)
    expect(session.interrupt).not.toHaveBeenCalled()
    await pass(1)
    expect(session.interrupt).toHaveBeenCalledExactlyOnceWith('busy')
    expect(observer.busy).toHaveBeenCalledTimes(1)
    end()
    await taken
    expect([delivery.cursor, vi.getTimerCount()]).toEqual(['e1.5.x', 0])
  })

  it('whose handler fails leaves the cursor before it', async () => {
    const { take, delivery } = scene({ onEvent: () => Promise.reject(new Error('broken')) })
    await take(open(4))
    await expect(take(event(5))).rejects.toMatchObject({
      reason: 'handler_failed',
      message: 'a handler failed: broken',
    })
    expect([delivery.cursor, vi.getTimerCount()]).toEqual(['e1.4.x', 0])
  })
})

describe('the end of a stream', () => {
  it('waits for a save', async () => {
    let end = () => {}
    const { take, delivery } = scene({
      store: { load: () => undefined, save: () => new Promise<void>((resolve) => (end = resolve)) },
    })
    await take(open(4))
    let finished = false
    void delivery.finish(800).then(() => {
      finished = true
    })
    await pass(799)
    expect(finished).toBe(false)
    end()
    await pass(0)
    expect(finished).toBe(true)
  })

  it('leaves the cursor before an event whose handler takes longer', async () => {
    let end = () => {}
    const { take, delivery } = scene({ onEvent: () => new Promise<void>((resolve) => (end = resolve)) })
    await take(open(4))
    const taken = take(event(5))
    const finish = delivery.finish(800)
    await pass(800)
    await finish
    end()
    await taken
    expect(delivery.cursor).toBe('e1.4.x')
  })
})
