import { expect, it, vi } from 'vitest'
import { Cursors } from '../../src/cursor.ts'
import type { CloseReason, ControlMessage, ResetReason } from '../../src/event.ts'
import { Connection } from '../../src/hub/connection.ts'
import { chunks } from '../../src/hub/event-chunk.ts'
import type { Sink } from '../../src/hub/sink.ts'
import { bodyOf, headOf } from '../support/stream-state.ts'

const HEARTBEAT_MS = 1000
const STALL_MS = 3000
const OUTBOX_BYTES = 100

/** A connection, its socket and both of its clocks, which the test moves. */
function scene({ expiresInMs = 3_600_000 } = {}) {
  const time = { wall: 1_700_000_000_000, monotonic: 5000 }
  const cursors = new Cursors('alice')
  const onClosed = vi.fn<(connection: Connection, reason: CloseReason | 'gone') => void>()
  const connection = new Connection({
    user: 'alice',
    cursors,
    network: '192.0.2.1',
    expiresAt: time.wall + expiresInMs,
    clock: { wall: () => time.wall, monotonic: () => time.monotonic },
    limits: { outboxMaxBytes: OUTBOX_BYTES, heartbeatIntervalMs: HEARTBEAT_MS, stallTimeoutMs: STALL_MS },
    onClosed,
  })
  const sink = {
    transport: 'sse' as const,
    codec: {
      encode: (ids: readonly string[], bodies: readonly string[]) =>
        `${ids[0]?.split('.')[1]}+${bodies.length}`,
    },
    unsent: 0,
    sent: 0,
    written: [] as string[],
    told: [] as ControlMessage[],
    write: (frames: string) => void sink.written.push(frames),
    control: (message: ControlMessage) => void sink.told.push(message),
    heartbeat: vi.fn(() => true),
    close: vi.fn(),
    destroy: vi.fn(),
  } satisfies Sink & Record<string, unknown>
  return {
    time,
    connection,
    sink,
    onClosed,
    /** Opens it at the end of a stream of `head` events. */
    open: (head = 0, reset?: ResetReason) =>
      connection.open(
        sink,
        { seq: head, time: head === 0 ? 0 : head, resumed: false, reset },
        headOf({ head }),
      ),
    /** Offers the events from `first` to `last`; the time of each is its number. */
    offer: (
      first: number,
      last = first,
      { previous, fromLog = false }: { previous?: number | undefined; fromLog?: boolean } = {
        previous: first - 1,
      },
    ) => {
      const seqs = Array.from({ length: last - first + 1 }, (_, i) => first + i)
      const run = { first, previous, times: seqs, bodies: seqs.map((seq) => bodyOf(seq)) }
      return chunks('e1', cursors, run).reduce((sum, chunk) => sum + connection.offer(chunk, fromLog), 0)
    },
    /** So many ms later the wheel wakes it. */
    wakeAfter: (ms: number) => {
      time.wall += ms
      time.monotonic += ms
      return connection.wake(time.monotonic)
    },
  }
}

it('sends a heartbeat after each interval, and none before', () => {
  const { open, sink, wakeAfter } = scene()
  open()
  wakeAfter(HEARTBEAT_MS - 1)
  expect(sink.heartbeat).not.toHaveBeenCalled()
  wakeAfter(1)
  wakeAfter(HEARTBEAT_MS - 1)
  expect(sink.heartbeat).toHaveBeenCalledTimes(1)
  wakeAfter(1)
  expect(sink.heartbeat).toHaveBeenCalledTimes(2)
})

it('sends no heartbeat into a full outbox', () => {
  const { open, sink, wakeAfter } = scene()
  open()
  sink.unsent = OUTBOX_BYTES + 1
  wakeAfter(HEARTBEAT_MS)
  expect(sink.heartbeat).not.toHaveBeenCalled()
  sink.unsent = OUTBOX_BYTES
  wakeAfter(HEARTBEAT_MS)
  expect(sink.heartbeat).toHaveBeenCalledTimes(1)
})

it('is destroyed without a message if the client answers no heartbeat any more', () => {
  const { open, sink, wakeAfter, onClosed, connection } = scene()
  open()
  sink.heartbeat.mockReturnValue(false)
  expect(wakeAfter(HEARTBEAT_MS)).toBeUndefined()
  expect(sink.destroy).toHaveBeenCalledTimes(1)
  expect(sink.close).not.toHaveBeenCalled()
  expect(onClosed).toHaveBeenCalledExactlyOnceWith(connection, 'gone')
})

it('is closed as stalled once nothing was sent for STALL_TIMEOUT_MS, and any byte puts that off', () => {
  const { open, sink, wakeAfter, onClosed, connection } = scene()
  open()
  sink.unsent = 10
  wakeAfter(STALL_MS - 1)
  sink.sent = 1
  wakeAfter(1)
  wakeAfter(STALL_MS - 1)
  expect(connection.isOpen).toBe(true)
  expect(wakeAfter(1)).toBeUndefined()
  expect(sink.close).toHaveBeenCalledExactlyOnceWith('stalled', 2000)
  expect(onClosed).toHaveBeenCalledExactlyOnceWith(connection, 'stalled')
})

it('is not stalled while nothing waits to be sent', () => {
  const { open, wakeAfter, connection } = scene()
  open()
  for (let i = 0; i < 5; i++) wakeAfter(STALL_MS)
  expect(connection.isOpen).toBe(true)
})

it('ends with its token by the wall clock, unless a new one came', () => {
  const { open, sink, time, wakeAfter, connection } = scene({ expiresInMs: 10_000 })
  open()
  connection.renew(time.wall + 20_000)
  wakeAfter(19_999)
  expect(connection.isOpen).toBe(true)
  wakeAfter(1)
  expect(sink.close).toHaveBeenCalledExactlyOnceWith('token_expired', 1000)
})

it('ends with its token although the monotonic clock stood still, as on a machine that slept', () => {
  const { open, sink, time, connection } = scene({ expiresInMs: 10_000 })
  open()
  time.wall += 10_000
  connection.wake(time.monotonic)
  expect(sink.close).toHaveBeenCalledExactlyOnceWith('token_expired', 1000)
})

it('is to be woken for whatever comes first: heartbeat, half of the stall time, or the end of the token', () => {
  const { open, time, connection } = scene({ expiresInMs: 10_000 })
  expect(connection.alarm(time.monotonic)).toBe(time.monotonic + STALL_MS / 2)
  open()
  expect(connection.alarm(time.monotonic)).toBe(time.monotonic + HEARTBEAT_MS)
  connection.renew(time.wall + 500)
  expect(connection.alarm(time.monotonic)).toBe(time.monotonic + 500)
})

it.each([
  ['close', 'close'],
  ['leave', 'destroy'],
] as const)('that is told to %s before it has a socket ends the socket as soon as it has one', (what, how) => {
  const { open, sink, connection } = scene()
  if (what === 'close') connection.close('replaced')
  else connection.gone()
  open()
  expect(sink[how]).toHaveBeenCalledTimes(1)
  expect(sink.told).toEqual([])
  expect(connection.isOpen).toBe(false)
})

it('ends once, whatever ends it after that, and writes nothing more', () => {
  const { open, offer, sink, onClosed, connection, wakeAfter } = scene()
  open()
  connection.close('draining')
  connection.close('stalled')
  connection.gone()
  connection.destroy()
  expect(wakeAfter(HEARTBEAT_MS)).toBeUndefined()
  expect(offer(1)).toBe(0)
  connection.reset('gap', { seq: 1, time: 1 }, headOf({ head: 1 }))
  connection.markRead('e1', { seq: 1, time: 1 }, 0)
  expect(sink.told.map(({ type }) => type)).toEqual(['stream.open'])
  expect(onClosed).toHaveBeenCalledTimes(1)
  expect(sink.close).toHaveBeenCalledTimes(1)
  expect(sink.destroy).not.toHaveBeenCalled()
  expect(sink.written).toEqual([])
})

it('writes exactly what comes next, and is behind where something is missing', () => {
  const { open, offer, sink, connection } = scene()
  open(4)
  expect(offer(5, 6)).toBe(2)
  expect(offer(4, 6)).toBe(0)
  expect(offer(6, 8)).toBe(2)
  expect(offer(10)).toBe(0)
  expect(sink.written).toEqual(['5+2', '7+2'])
  expect([connection.cursor, connection.announced, connection.behind]).toEqual([8, 10, true])
})

it('is behind while its outbox is full', () => {
  const { open, offer, sink, connection } = scene()
  open()
  sink.unsent = OUTBOX_BYTES + 1
  expect(offer(1)).toBe(0)
  expect([connection.behind, connection.writable]).toEqual([true, false])
  sink.unsent = OUTBOX_BYTES
  expect(offer(1)).toBe(1)
})

it('takes an event only after the one that it has, which the time proves, not the number', () => {
  const { open, offer } = scene()
  open(4)
  expect(offer(5, 5, { previous: 99 })).toBe(0)
  expect(offer(5, 5, { previous: 99, fromLog: true })).toBe(0)
  expect(offer(5, 5, { previous: undefined })).toBe(0)
  expect(offer(5)).toBe(1)
  // Read from the log after its number, in which 0.1 did not note the time.
  expect(offer(6, 6, { previous: undefined, fromLog: true })).toBe(1)
})

it('keeps what was announced before it was open, and takes back what a later head denies', () => {
  const { open, connection } = scene()
  connection.announce('another history, for all it knows', 7)
  open(4)
  expect([connection.announced, connection.behind]).toEqual([7, true])
  connection.announce('another history', 9)
  expect(connection.announced).toBe(7)
  connection.retract(6, 4)
  expect(connection.announced).toBe(7)
  connection.retract(7, 3)
  expect([connection.announced, connection.behind]).toEqual([4, false])
  connection.retract(4, 9)
  expect(connection.announced).toBe(4)
})

it('has no room, no bytes and nothing to catch up with before it is open and after its end', () => {
  const { open, sink, connection } = scene()
  const state = () => [connection.isOpen, connection.writable, connection.behind, connection.unsent]
  connection.announce('e1', 5)
  expect(state()).toEqual([false, false, false, 0])
  open()
  sink.unsent = 7
  expect(state()).toEqual([true, true, true, 7])
  connection.close('draining')
  expect(state()).toEqual([false, false, false, 0])
})

it('needs no socket to be woken, or to end', () => {
  const { wakeAfter, time, connection, onClosed } = scene()
  expect(wakeAfter(HEARTBEAT_MS)).toBe(time.monotonic + STALL_MS / 2)
  connection.destroy()
  expect(onClosed).toHaveBeenCalledExactlyOnceWith(connection, 'gone')
})

it('begins with what the client needs to know, and says at once that events may be missing', () => {
  const { open, sink } = scene()
  open(4, 'trimmed')
  const cursor = new Cursors('alice').format('e1', { seq: 4, time: 4 })
  const read = new Cursors('alice').format('e1', { seq: 0, time: 0 })
  expect(sink.told).toEqual([
    {
      type: 'stream.open',
      data: { cursor, oldest: 1, resumed: false, heartbeat_ms: HEARTBEAT_MS, read, unread: 4 },
    },
    { type: 'stream.reset', data: { reason: 'trimmed', cursor, oldest: 1 } },
  ])
})

it('tells after a reset what is read, though nothing is', () => {
  const { open, sink, connection } = scene()
  open(4)
  connection.reset('ahead', { seq: 2, time: 2 }, headOf({ head: 2 }))
  expect(sink.told.slice(1).map(({ type }) => type)).toEqual(['stream.reset', 'stream.read'])
  expect(sink.told.at(-1)?.data).toMatchObject({ unread: 2 })
})
