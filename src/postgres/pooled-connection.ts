import type postgres from 'postgres'
import { fromTheFirst } from './rows.ts'
import type { Session } from './session.ts'
import { Lazy } from './statement.ts'

/** How long the server may take to end what was cancelled, before its connection is destroyed. */
const RETIRE_MS = 1000
/** A connection lives an hour at most, or half of one, so that neither memory nor a balancer's old choice stays for ever. */
const MAX_AGE_MS = 3_600_000

/** A statement with its caller. It settles once; after that the server may still be executing it. */
export class Job {
  readonly strings: TemplateStringsArray
  readonly values: readonly unknown[]
  /** When it began to wait for a connection (performance.now()); 0 if it did not wait. */
  queuedAt = 0
  /** Undefined until it is sent. */
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
 * A retiring connection takes no new statements. It closes when those in flight have ended: each within its deadline; once
 * all callers are answered, the one that is executing is cancelled and gets one second.
 */
export class PooledConnection {
  /** On the clock of performance.now(). */
  idleSince = 0
  readonly #session: Session
  /** Statements in flight, with when they were sent and how much the connection had read by then. */
  readonly #jobs = new Map<Job, { readonly sentAt: number; readonly bytesRead: number }>()
  readonly #endsAt = performance.now() + MAX_AGE_MS * (0.5 + Math.random() / 2)
  readonly #onLeft: (connection: PooledConnection) => void

  /** @param onLeft called when the server has finished a statement, even if its caller was answered before */
  constructor(session: Session, onLeft: (connection: PooledConnection) => void) {
    this.#session = session
    this.#onLeft = onLeft
  }

  /** Statements in flight. */
  get jobs(): number {
    return this.#jobs.size
  }

  /** Whether it can send nothing any more. */
  get closed(): boolean {
    return this.#session.closed
  }

  /** Whether it has reached its maximum age. */
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

  /** When the job was sent (performance.now()), if the server has sent nothing since then; else undefined. */
  silentSince(job: Job): number | undefined {
    const sent = this.#jobs.get(job)
    return sent !== undefined && sent.bytesRead === this.#session.bytesRead ? sent.sentAt : undefined
  }

  /**
   * Cancels the executing statement, if no caller waits for any statement here.
   *
   * @param overdue called if the server does not finish the cancelled statement in time
   */
  cancelUnwanted(overdue: () => void): void {
    // When the cancel request arrives, the server may already execute the next statement. Cancelled while it waits for a
    // synchronous standby, that one would even be reported as done.
    for (const job of this.#jobs.keys()) if (!job.settled) return
    // A backend that waits for a lock does not notice that its client is gone.
    this.#session.cancel()
    setTimeout(overdue, RETIRE_MS)
  }

  /** Cancels the executing statement and closes at once. */
  abort(reason: Error): void {
    this.#session.cancel()
    this.#session.destroy(reason)
  }

  /** Closes at once, even if the server does not answer. */
  destroy(reason?: Error): void {
    this.#session.destroy(reason)
  }

  /** Closes an idle connection. */
  end(): void {
    void this.#session.end()
  }

  /** For a closed session: the driver never answers statements that it got between the socket's error and its close. */
  rejectAll(error: Error): void {
    for (const job of this.#jobs.keys()) job.reject(error)
    this.#jobs.clear()
  }
}
