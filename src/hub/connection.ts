import { randomUUID } from 'node:crypto'
import type { Cursors } from '../cursor.ts'
import { type CloseReason, type Position, type ResetReason, type StreamHead, unreadOf } from '../event.ts'
import type { EventChunk } from './event-chunk.ts'
import { readOf, type Start } from './resume.ts'
import type { Sink } from './sink.ts'
import type { Sleeper } from './wheel.ts'

/** Wall time for times that others set (a token's `exp`), monotonic time for our own measurements; both in ms. */
export interface Clock {
  readonly wall: () => number
  readonly monotonic: () => number
}

export interface ConnectionLimits {
  readonly outboxMaxBytes: number
  readonly heartbeatIntervalMs: number
  readonly stallTimeoutMs: number
}

/** For each reason of a close: whether the client should reconnect, and after how long (ms). */
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
 * A cursor over its user's stream. It accepts an event only if that is exactly the next one, proven by the time of the event
 * before it, and if the socket keeps up. In every other case it is behind, and its subscriber reads the log after its cursor.
 *
 * ```
 * opening (no sink yet) ─▶ live ⇄ behind (announced > cursor) ─▶ closed
 *    └──────────────────────────────────────────────────────────────┘
 * ```
 */
export class Connection implements Sleeper {
  readonly id = randomUUID()
  /** Monotonic, ms. */
  readonly openedAt: number
  readonly user: string
  /** The network that limits count it against. */
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
  /** The time of the event at the cursor; undefined if not known. */
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

  /** Whether it has a transport and has not ended. */
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

  /** The highest number that it was told of. */
  get announced(): number {
    return this.#announced
  }

  /** Whether it is open and the log has events after its cursor. */
  get behind(): boolean {
    return this.isOpen && this.#announced > this.#cursor
  }

  /** Bytes handed to the transport that the kernel has not taken yet. */
  get unsent(): number {
    return this.isOpen ? (this.#sink?.unsent ?? 0) : 0
  }

  /** Whether the outbox has room. Without this bound, a client that does not read would fill the memory. */
  get writable(): boolean {
    return (
      this.#sink !== undefined &&
      this.#closed === undefined &&
      this.#sink.unsent <= this.#limits.outboxMaxBytes
    )
  }

  /**
   * Sends the first messages: `stream.open`, and `stream.reset` if the client may have missed events. A connection that was
   * closed before it had a transport (replaced, draining) sends `stream.close` instead.
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

  /** Notes that the stream has events up to `head`. Ignored if it is about another history. */
  announce(epoch: string, head: number): void {
    if (head > this.#announced && (this.#sink === undefined || epoch === this.#epoch)) this.#announced = head
  }

  /** Takes back `announced`: a head that was read later is lower, so those events are gone with their history. */
  retract(announced: number, head: number): void {
    if (this.#announced === announced && announced > head) this.#announced = Math.max(head, this.#cursor)
  }

  /**
   * Writes the events of the chunk that come next. If there is a gap before them, or no room, the connection is behind.
   *
   * @param fromLog whether the chunk was read from the log after this connection's position. Then, if the time of the event
   *   there is not known, the number is enough
   * @returns how many events were written
   */
  offer(run: EventChunk, fromLog: boolean): number {
    if (this.#sink === undefined) {
      this.announce(run.epoch, run.last)
      return 0
    }
    if (run.epoch !== this.#epoch || run.last <= this.#cursor) return 0
    this.announce(run.epoch, run.last)
    if (run.first > this.#cursor + 1 || !this.writable) return 0
    // The number alone proves nothing: a restored database gives it again, to another event.
    const before = run.timeAt(this.#cursor)
    const isKnown = before !== undefined && this.#time !== undefined
    if (isKnown ? before !== this.#time : !fromLog) return 0
    this.#sink.write(run.after(this.#cursor, this.#sink))
    const written = run.last - this.#cursor
    this.#cursor = run.last
    this.#time = run.timeAt(run.last)
    return written
  }

  /** Moves to a position from which the stream continues, and tells the client that events before it may be lost. */
  reset(reason: ResetReason, to: Position, stream: StreamHead): void {
    if (!this.isOpen) return
    this.#epoch = stream.epoch
    this.#cursor = to.seq
    this.#time = to.time
    this.#announced = stream.head
    this.#tellReset(reason, stream.oldest)
    // The number of unread events of before does not hold in another history, or after a trim.
    this.#read = -1
    this.markRead(stream.epoch, readOf(stream), unreadOf(stream))
  }

  /** Sends the read mark, unless the client knows it. If the outbox is full, the next sweep sends it. */
  markRead(epoch: string, read: Position, unread: number): void {
    if (!this.isOpen || epoch !== this.#epoch || read.seq <= this.#read || !this.writable) return
    this.#read = read.seq
    this.#sink?.control({ type: 'stream.read', data: { cursor: this.#cursors.format(epoch, read), unread } })
  }

  /** Extends the connection by a new token of the same user. */
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

  /** When to wake it next (monotonic, ms): for the end of its token, a heartbeat, or a stall. */
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

  /** Ends the connection without a message. */
  destroy(): void {
    if (this.#closed !== undefined) return
    this.gone()
    this.#sink?.destroy()
  }

  /** Called by the transport when the client is gone. */
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
