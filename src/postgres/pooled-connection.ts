import type postgres from 'postgres'
import { fromTheFirst } from './rows.ts'
import type { Session } from './session.ts'
import { Lazy } from './statement.ts'

/** How long the server may take to end what was cancelled, before its connection is destroyed. */
const RETIRE_MS = 1000
/** A connection lives an hour at most, or half of one, so that neither memory nor a balancer's old choice stays for ever. */
const MAX_AGE_MS = 3_600_000

/** A statement whose caller waits. It settles once; after that the server may still be at it. */
export class Job {
  readonly strings: TemplateStringsArray
  readonly values: readonly unknown[]
  /** On the clock of performance.now(); 0 where it did not have to wait for a connection. */
  queuedAt = 0
  /** None before it is sent. */
  connection: PooledConnection | undefined
  readonly #timer: NodeJS.Timeout
  readonly #settle: (error: unknown, rows?: unknown) => void
  #settled = false

  /**
   * @param expire called where it has not settled after `leftMs`
   * @param settle called once, with an error, or with `undefined` and the rows
   */
  constructor(
    strings: TemplateStringsArray,
    values: readonly unknown[],
    leftMs: number,
    expire: (job: Job) => void,
    settle: (error: unknown, rows?: unknown) => void,
  ) {
    this.strings = strings
    this.values = values
    this.#timer = setTimeout(() => expire(this), leftMs)
    this.#settle = settle
  }

  get settled(): boolean {
    return this.#settled
  }

  resolve(rows: unknown): void {
    this.#end(undefined, rows)
  }

  reject(error: unknown): void {
    this.#end(error)
  }

  #end(error: unknown, rows?: unknown): void {
    clearTimeout(this.#timer)
    if (this.#settled) return
    this.#settled = true
    this.#settle(error, rows)
  }
}

/**
 * One connection of a pool.
 *
 * ```
 * idle ⇄ busy ─▶ retiring ─▶ closed
 *   └─────┴──────────────────▶┘ too old, idle for too long, silent, or broken
 * ```
 *
 * A retiring one takes no new statement. It closes when those in flight have ended: each in its own time, and the last,
 * once it is cancelled, within a second.
 */
export class PooledConnection {
  /** On the clock of performance.now(). */
  idleSince = 0
  readonly #session: Session
  /** What is under way, with when it was sent and what the connection had read by then. */
  readonly #jobs = new Map<Job, { readonly sentAt: number; readonly bytesRead: number }>()
  readonly #endsAt = performance.now() + MAX_AGE_MS * (0.5 + Math.random() / 2)
  readonly #onLeft: (connection: PooledConnection) => void

  /** @param onLeft the server is done with a statement, whether or not its caller was told before */
  constructor(session: Session, onLeft: (connection: PooledConnection) => void) {
    this.#session = session
    this.#onLeft = onLeft
  }

  /** Statements under way. */
  get jobs(): number {
    return this.#jobs.size
  }

  /** Whether it can carry nothing any more. */
  get closed(): boolean {
    return this.#session.closed
  }

  /** Whether it has lived for long enough. */
  get old(): boolean {
    return performance.now() > this.#endsAt
  }

  send(job: Job): void {
    const { sql, bytesRead } = this.#session
    job.connection = this
    this.#jobs.set(job, { sentAt: performance.now(), bytesRead })
    const values = job.values.map((value) => (value instanceof Lazy ? value.fragmentFor(sql) : value))
    sql(job.strings, ...(values as postgres.ParameterOrFragment<never>[])).then(
      (rows) => {
        job.resolve(fromTheFirst(rows))
        this.#left(job)
      },
      (error) => {
        job.reject(error)
        this.#left(job)
      },
    )
  }

  #left(job: Job): void {
    this.#jobs.delete(job)
    this.#onLeft(this)
  }

  /** Since when it has said nothing, on the clock of performance.now(), if that is since a statement of its own was sent. */
  silentSince(job: Job): number | undefined {
    const sent = this.#jobs.get(job)
    return sent !== undefined && sent.bytesRead === this.#session.bytesRead ? sent.sentAt : undefined
  }

  /**
   * Cancels what it is at, once nobody waits for it any more.
   *
   * @param overdue called where the server did not end in time what was cancelled
   */
  cancelUnwanted(overdue: () => void): void {
    // One behind it might be what the server is at when the request comes. Cancelled while it waits for a synchronous
    // standby, it would even be reported as done.
    for (const job of this.#jobs.keys()) if (!job.settled) return
    // Left alone, a backend that waits for a lock would not notice that its client is gone.
    this.#session.cancel()
    setTimeout(overdue, RETIRE_MS)
  }

  /** Cancels what it is at, and closes at once. */
  abort(reason: Error): void {
    this.#session.cancel()
    this.#session.destroy(reason)
  }

  /** Closes at once, whether or not its peer still answers. */
  destroy(reason?: Error): void {
    this.#session.destroy(reason)
  }

  /** Closes one that has nothing under way. */
  end(): void {
    void this.#session.end()
  }

  /** Its session is closed. What was given to the driver between the socket's error and its close is never answered by it. */
  rejectAll(error: Error): void {
    for (const job of this.#jobs.keys()) job.reject(error)
    this.#jobs.clear()
  }
}
