import { randomUUID } from 'node:crypto'
import type { Cursors } from '../cursor.ts'
import { type CloseReason, type Position, type ResetReason, type StreamHead, unreadOf } from '../event.ts'
import type { EventChunk } from './event-chunk.ts'
import { readOf, type Start } from './resume.ts'
import type { Sink } from './sink.ts'
import type { Sleeper } from './wheel.ts'

/** Wall time for what others set (a token's `exp`), monotonic time for what we measure; both in ms. */
export interface Clock {
  readonly wall: () => number
  readonly monotonic: () => number
}

export interface ConnectionLimits {
  readonly outboxMaxBytes: number
  readonly heartbeatIntervalMs: number
  readonly stallTimeoutMs: number
}

/** How a client should take a close: whether coming back makes sense, and after how long (ms). */
export const CLOSES: Readonly<
  Record<CloseReason, { readonly reconnect: boolean; readonly retryMs: number }>
> = {
  token_expired: { reconnect: true, retryMs: 1000 },
  replaced: { reconnect: false, retryMs: 86_400_000 },
  closed: { reconnect: false, retryMs: 86_400_000 },
  draining: { reconnect: true, retryMs: 1000 },
  stalled: { reconnect: true, retryMs: 2000 },
  overloaded: { reconnect: true, retryMs: 10_000 },
  unavailable: { reconnect: true, retryMs: 2000 },
}

/**
 * A cursor over its user's stream. It takes an event when that is exactly the next one, which the time of the event before
 * it proves, and the socket keeps up; in every other case it is behind, and whoever owns it reads the log after its cursor.
 *
 * opening (no sink yet) → open → closed. Whether an open one is live or catching up follows from two numbers: it is
 * behind while `announced` is greater than `cursor`.
 */
export class Connection implements Sleeper {
  readonly id = randomUUID()
  /** Monotonic, ms. */
  readonly openedAt: number
  readonly user: string
  /** Where it comes from, as limits count. */
  readonly network: string
  dueAt: number | undefined
  readonly #cursors: Cursors
  readonly #clock: Clock
  readonly #limits: ConnectionLimits
  readonly #onClosed: (connection: Connection, reason: CloseReason | 'gone') => void
  #expiresAt: number
  #sink: Sink | undefined
  #closed: CloseReason | 'gone' | undefined
  #epoch = ''
  #cursor = 0
  /** The time of the event at the cursor; undefined where it is not known. */
  #time: number | undefined
  #announced = 0
  #read = 0
  #heartbeatAt = 0
  #sentBefore = 0
  #progressAt = 0

  constructor(options: {
    readonly user: string
    readonly cursors: Cursors
    readonly network: string
    readonly expiresAt: number
    readonly clock: Clock
    readonly limits: ConnectionLimits
    readonly onClosed: (connection: Connection, reason: CloseReason | 'gone') => void
  }) {
    this.user = options.user
    this.#cursors = options.cursors
    this.network = options.network
    this.#expiresAt = options.expiresAt
    this.#clock = options.clock
    this.openedAt = options.clock.monotonic()
    this.#limits = options.limits
    this.#onClosed = options.onClosed
  }

  get transport(): Sink['transport'] | undefined {
    return this.#sink?.transport
  }

  /** It has a transport and has not ended. */
  get isOpen(): boolean {
    return this.#sink !== undefined && this.#closed === undefined
  }

  get epoch(): string {
    return this.#epoch
  }

  get cursor(): number {
    return this.#cursor
  }

  get position(): Position {
    return { seq: this.#cursor, time: this.#time }
  }

  /** Up to which number it has heard that there are events. */
  get announced(): number {
    return this.#announced
  }

  /** Open, with events in the log that it has not been given. */
  get behind(): boolean {
    return this.isOpen && this.#announced > this.#cursor
  }

  /** Bytes handed to the transport that the kernel has not taken yet. */
  get unsent(): number {
    return this.isOpen ? (this.#sink?.unsent ?? 0) : 0
  }

  /** Whether the outbox has room; a peer that doesn't read must not pile up memory here. */
  get writable(): boolean {
    return (
      this.#sink !== undefined &&
      this.#closed === undefined &&
      this.#sink.unsent <= this.#limits.outboxMaxBytes
    )
  }

  /**
   * The first words on a connection: `stream.open`, and `stream.reset` where the client may have missed something. One
   * that was ended before it had a transport (replaced, draining) says so instead.
   */
  open(sink: Sink, start: Start, stream: StreamHead): void {
    if (this.#closed !== undefined) {
      if (this.#closed === 'gone') sink.destroy()
      else sink.close(this.#closed, CLOSES[this.#closed].retryMs)
      return
    }
    this.#sink = sink
    this.#epoch = stream.epoch
    this.#cursor = start.seq
    this.#time = start.time
    // Events announced while the head was being read are beyond that head; they keep the connection behind.
    this.#announced = Math.max(this.#announced, stream.head)
    const now = this.#clock.monotonic()
    this.#heartbeatAt = now + this.#limits.heartbeatIntervalMs
    this.#progressAt = now
    this.#read = stream.read
    sink.control({
      type: 'stream.open',
      data: {
        cursor: this.#cursors.format(stream.epoch, start),
        oldest: stream.oldest,
        resumed: start.resumed,
        heartbeat_ms: this.#limits.heartbeatIntervalMs,
        read: this.#cursors.format(stream.epoch, readOf(stream)),
        unread: unreadOf(stream),
      },
    })
    if (start.reset !== undefined) this.#tellReset(start.reset, stream.oldest)
  }

  /** The stream has events up to `head` now, whoever said so; of another history that says nothing. */
  announce(epoch: string, head: number): void {
    if (head > this.#announced && (this.#sink === undefined || epoch === this.#epoch)) this.#announced = head
  }

  /** The head was read after `announced` was heard, and is lower: the events that it spoke of are gone with their history. */
  retract(announced: number, head: number): void {
    if (this.#announced === announced && announced > head) this.#announced = Math.max(head, this.#cursor)
  }

  /**
   * Takes what is next of the run and writes it at once; whatever else the run holds leaves the connection behind.
   *
   * @param fromLog whether it was read from the log behind this connection's place: where nobody knows when the event there
   *   was logged, the number then has to do
   * @returns how many events were written
   */
  offer(run: EventChunk, fromLog = false): number {
    if (this.#sink === undefined || this.#closed !== undefined) {
      this.announce(run.epoch, run.last)
      return 0
    }
    if (run.epoch !== this.#epoch || run.last <= this.#cursor) return 0
    this.announce(run.epoch, run.last)
    if (run.first > this.#cursor + 1 || !this.writable) return 0
    // The number alone proves nothing: a database that was put back gives it again, to another event.
    const before = run.timeAt(this.#cursor)
    const isKnown = before !== undefined && this.#time !== undefined
    if (isKnown ? before !== this.#time : !fromLog) return 0
    this.#sink.write(run.after(this.#cursor, this.#sink))
    const written = run.last - this.#cursor
    this.#cursor = run.last
    this.#time = run.timeAt(run.last)
    return written
  }

  /** Moves to a place from which the stream can be continued, and tells the client that events before it may be lost. */
  reset(reason: ResetReason, to: Position, stream: StreamHead): void {
    if (!this.isOpen) return
    this.#epoch = stream.epoch
    this.#cursor = to.seq
    this.#time = to.time
    this.#announced = stream.head
    this.#tellReset(reason, stream.oldest)
    // What was unread before says nothing about another history, or about one that has lost its beginning.
    this.#read = -1
    this.markRead(stream.epoch, readOf(stream), unreadOf(stream))
  }

  /** Tells how far the user has read, unless the peer knows. What a full outbox has no room for, the next sweep tells. */
  markRead(epoch: string, read: Position, unread: number): void {
    if (!this.isOpen || epoch !== this.#epoch || read.seq <= this.#read || !this.writable) return
    this.#read = read.seq
    this.#sink?.control({ type: 'stream.read', data: { cursor: this.#cursors.format(epoch, read), unread } })
  }

  /** A fresh token of the same user takes the place of the one it was opened with. */
  renew(expiresAt: number): void {
    this.#expiresAt = expiresAt
  }

  wake(now: number): number | undefined {
    const sink = this.#sink
    if (this.#closed !== undefined) return undefined
    if (this.#expiresAt <= this.#clock.wall()) {
      this.close('token_expired')
      return undefined
    }
    if (sink !== undefined && now >= this.#heartbeatAt) {
      this.#heartbeatAt = now + this.#limits.heartbeatIntervalMs
      // Into a full outbox a heartbeat would only add bytes that nobody reads.
      if (this.writable && !sink.heartbeat()) {
        this.destroy()
        return undefined
      }
    }
    if (sink !== undefined && this.#stalled(sink, now)) {
      this.close('stalled')
      return undefined
    }
    return this.alarm(now)
  }

  /** When to look at it next, ms on the monotonic clock: it must not outlive its token, nor fall silent, nor stall for long. */
  alarm(now: number): number {
    return Math.min(
      now + this.#expiresAt - this.#clock.wall(),
      now + this.#limits.stallTimeoutMs / 2,
      this.#sink === undefined ? Number.POSITIVE_INFINITY : this.#heartbeatAt,
    )
  }

  /** Tells the peer why and ends the connection. */
  close(reason: CloseReason, retryMs = CLOSES[reason].retryMs): void {
    if (this.#closed !== undefined) return
    this.#closed = reason
    this.#sink?.close(reason, retryMs)
    this.#onClosed(this, reason)
  }

  /** Ends the connection without a word. */
  destroy(): void {
    if (this.#closed !== undefined) return
    this.gone()
    this.#sink?.destroy()
  }

  /** The peer is gone; called by the transport. */
  gone(): void {
    if (this.#closed !== undefined) return
    this.#closed = 'gone'
    this.#onClosed(this, 'gone')
  }

  #stalled(sink: Sink, now: number): boolean {
    if (sink.unsent === 0 || sink.sent !== this.#sentBefore) {
      this.#sentBefore = sink.sent
      this.#progressAt = now
      return false
    }
    return now - this.#progressAt >= this.#limits.stallTimeoutMs
  }

  #tellReset(reason: ResetReason, oldest: number): void {
    const cursor = this.#cursors.format(this.#epoch, this.position)
    this.#sink?.control({ type: 'stream.reset', data: { reason, cursor, oldest } })
  }
}
