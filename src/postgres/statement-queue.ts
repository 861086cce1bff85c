import { ConnectionError } from './connection-error.ts'
import type { ConnectionOptions } from './connection-url.ts'
import { Job, PooledConnection } from './pooled-connection.ts'
import { SESSION_SETTINGS, Session } from './session.ts'

/** The present connections of a pool, and the waits of its statements since the start. */
export interface PoolUsage {
  /** Most connections at once. */
  readonly max: number
  /** Connections with a statement in flight, retiring ones included. */
  readonly busy: number
  readonly idle: number
  readonly opening: number
  /** Statements that wait for a connection. */
  readonly waiting: number
  /** Statements that had to wait for a connection, and their total wait. */
  readonly waits: number
  readonly waitedSeconds: number
  /** Statements that passed their deadline. */
  readonly timedOut: number
}

export interface PoolOptions {
  /** Most connections at once. */
  readonly max: number
  /** The deadline of a statement, including its wait for a connection. */
  readonly deadlineMs?: number
  /** The most statements in flight on one connection; they follow each other. */
  readonly pipeline?: number
  readonly pooler?: 'none' | 'transaction'
  /** A connection has been silent since then (performance.now()): others may be too. */
  readonly onSilence?: (since: number) => void
  /** Called when a statement has settled, with its error if it failed. */
  readonly onSettled?: (error?: unknown) => void
}

const DEADLINE_MS = 5000
/** The pause between attempts to connect while Postgres is away; it grows from this to MAX_BACKOFF_MS. */
const MIN_BACKOFF_MS = 50
const MAX_BACKOFF_MS = 500
/** A connection idle for this long is closed, because networks drop idle flows. */
const MAX_IDLE_MS = 240_000

/**
 * The statements of a pool and their connections. Every statement has a deadline. When it passes, the caller is answered at
 * once, the statement is cancelled on the server, and its connection is destroyed, because a silent server does not answer a
 * cancel either. A bad connection does not affect statements on the others.
 *
 * ```
 * run ─▶ waiting ─▶ on a connection ─▶ answered
 *   └────────────────┘    │ deadline passed: answered TIMEOUT, and its connection retires
 *           │             └ connection closed: answered CLOSED
 *           └ deadline passed, or no connection can be made while there is none: answered
 * ```
 */
export class StatementQueue {
  readonly #connection: ConnectionOptions
  readonly #purpose: string
  readonly #options: Required<PoolOptions>
  readonly #idle: PooledConnection[] = []
  /** Connections that take statements, including the idle ones. */
  readonly #open = new Set<PooledConnection>()
  readonly #retiring = new Set<PooledConnection>()
  readonly #waiting = new Set<Job>()
  #opening = 0
  #failures = 0
  #waits = 0
  #waitedMs = 0
  #timedOut = 0
  #reopen: NodeJS.Timeout | undefined
  #tidy: NodeJS.Timeout | undefined
  #ended: Promise<void> | undefined
  #onQuiet = () => {}

  constructor(connection: ConnectionOptions, purpose: string, options: PoolOptions) {
    this.#connection = connection
    this.#purpose = purpose
    this.#options = {
      deadlineMs: DEADLINE_MS,
      pipeline: 1,
      pooler: 'none',
      onSilence: () => {},
      onSettled: () => {},
      ...options,
    }
  }

  get deadlineMs(): number {
    return this.#options.deadlineMs
  }

  get usage(): PoolUsage {
    return {
      max: this.#options.max,
      busy: this.#open.size - this.#idle.length + this.#retiring.size,
      idle: this.#idle.length,
      opening: this.#opening,
      waiting: this.#waiting.size,
      waits: this.#waits,
      waitedSeconds: this.#waitedMs / 1000,
      timedOut: this.#timedOut,
    }
  }

  run(
    strings: TemplateStringsArray,
    values: readonly unknown[],
    leftMs: number,
    deadlineMs: number,
  ): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.#ended !== undefined) {
        reject(new ConnectionError('ENDED', 'the pool is closed'))
        return
      }
      const expire = (job: Job) => this.#expire(job, deadlineMs)
      const job = new Job(strings, values, leftMs, expire, (error, rows) => {
        this.#options.onSettled(error)
        if (error === undefined) resolve(rows)
        else reject(error)
      })
      const connection = this.#free()
      if (connection !== undefined) {
        this.#send(job, connection)
        return
      }
      job.queuedAt = performance.now()
      this.#waiting.add(job)
      this.#openMore()
    })
  }

  /** Closes connections that have been idle since before this time; new ones are opened when needed. */
  doubt(since: number): void {
    for (const connection of this.#idle.filter(({ idleSince }) => idleSince < since)) {
      this.#forget(connection)
      connection.destroy()
    }
  }

  end(timeoutMs: number): Promise<void> {
    this.#ended ??= this.#end(timeoutMs)
    return this.#ended
  }

  async #end(timeoutMs: number): Promise<void> {
    clearTimeout(this.#reopen)
    clearTimeout(this.#tidy)
    const busy = () =>
      this.#waiting.size > 0 || [...this.#open, ...this.#retiring].some(({ jobs }) => jobs > 0)
    if (busy()) {
      let timer: NodeJS.Timeout | undefined
      await Promise.race([
        new Promise<void>((resolve) => {
          this.#onQuiet = () => {
            if (!busy()) resolve()
          }
        }),
        new Promise<void>((resolve) => {
          timer = setTimeout(resolve, timeoutMs)
        }),
      ])
      clearTimeout(timer)
    }
    const ended = new ConnectionError('ENDED', 'the pool is closed')
    this.#rejectWaiting(ended)
    for (const connection of [...this.#open, ...this.#retiring]) {
      if (connection.jobs === 0) connection.end()
      else connection.abort(ended)
    }
  }

  /** An idle connection; else, if statements may follow each other, one with room. */
  #free(): PooledConnection | undefined {
    let idle = this.#idle.pop()
    while (idle?.closed) idle = this.#idle.pop()
    if (idle !== undefined || this.#options.pipeline === 1) return idle
    for (const connection of this.#open)
      if (connection.jobs < this.#options.pipeline && !connection.closed) return connection
    return undefined
  }

  #send(job: Job, connection: PooledConnection): void {
    if (job.queuedAt > 0) this.#countWait(performance.now() - job.queuedAt)
    connection.send(job)
  }

  #countWait(milliseconds: number): void {
    this.#waits++
    this.#waitedMs += milliseconds
  }

  #rejectWaiting(error: unknown): void {
    for (const job of this.#waiting) job.reject(error)
    this.#waiting.clear()
  }

  #nextWaiting(): Job | undefined {
    const [job] = this.#waiting
    if (job !== undefined) this.#waiting.delete(job)
    return job
  }

  /** Uses the room of a connection for the next statement; else makes it idle, or closes it. */
  #release(connection: PooledConnection): void {
    if (this.#retiring.has(connection)) {
      if (connection.jobs === 0) this.#giveUp(connection)
      return
    }
    if (connection.closed || !this.#open.has(connection)) return
    const next = this.#nextWaiting()
    if (next !== undefined) {
      this.#send(next, connection)
      return
    }
    if (connection.jobs > 0) return
    if (connection.old) {
      this.#forget(connection)
      connection.end()
      return
    }
    connection.idleSince = performance.now()
    this.#idle.push(connection)
    this.#tidyLater()
  }

  #expire(job: Job, deadlineMs: number): void {
    const { connection } = job
    this.#timedOut++
    job.reject(new ConnectionError('TIMEOUT', `no answer within ${deadlineMs} ms`))
    if (connection === undefined) {
      this.#waiting.delete(job)
      this.#countWait(performance.now() - job.queuedAt)
      this.#onQuiet()
      return
    }
    const silentSince = connection.silentSince(job)
    this.#retire(connection)
    if (silentSince !== undefined) {
      this.doubt(silentSince)
      this.#options.onSilence(silentSince)
    }
  }

  #retire(connection: PooledConnection): void {
    if (!this.#retiring.has(connection)) {
      this.#forget(connection)
      this.#retiring.add(connection)
      this.#openMore()
    }
    connection.cancelUnwanted(() => {
      if (this.#retiring.has(connection)) this.#giveUp(connection)
    })
  }

  #giveUp(connection: PooledConnection): void {
    this.#retiring.delete(connection)
    connection.destroy(
      new ConnectionError('CLOSED', 'the connection was given up: a statement took too long'),
    )
  }

  #forget(connection: PooledConnection): void {
    this.#open.delete(connection)
    const at = this.#idle.indexOf(connection)
    if (at !== -1) this.#idle.splice(at, 1)
  }

  #openMore(): void {
    if (this.#ended !== undefined || this.#reopen !== undefined) return
    const room = this.#options.max - this.#open.size - this.#opening
    const wanted = Math.min(room, Math.ceil(this.#waiting.size / this.#options.pipeline) - this.#opening)
    for (let i = 0; i < wanted; i++) void this.#openOne()
  }

  async #openOne(): Promise<void> {
    this.#opening++
    try {
      const { pooler, deadlineMs, pipeline } = this.#options
      const session = await Session.open({
        connection: this.#connection,
        primary: true,
        purpose: this.#purpose,
        // The server ends statements that no cancel request reaches.
        settings:
          pooler === 'transaction'
            ? undefined
            : { ...SESSION_SETTINGS, statement_timeout: `${deadlineMs + 1000}` },
        prepare: pooler === 'none',
        onClosed: () => this.#closed(connection),
      })
      const connection = new PooledConnection(session, () => {
        this.#release(connection)
        this.#onQuiet()
      })
      this.#opening--
      this.#failures = 0
      if (this.#ended !== undefined && this.#waiting.size === 0) {
        connection.end()
        return
      }
      this.#open.add(connection)
      for (let n = 1; n < pipeline; n++) {
        const job = this.#nextWaiting()
        if (job !== undefined) this.#send(job, connection)
      }
      this.#release(connection)
    } catch (error) {
      this.#opening--
      this.#failures++
      this.#refused(error)
    }
  }

  /** No connection could be opened. If there are others, waiting statements wait for those; else they are rejected. */
  #refused(error: unknown): void {
    if (this.#open.size === 0 && this.#opening === 0) {
      this.#rejectWaiting(error)
      this.#onQuiet()
    }
    if (this.#ended !== undefined) return
    const backoffMs = Math.min(MIN_BACKOFF_MS * 2 ** (this.#failures - 1), MAX_BACKOFF_MS)
    this.#reopen ??= setTimeout(() => {
      this.#reopen = undefined
      this.#openMore()
    }, backoffMs).unref()
  }

  #closed(connection: PooledConnection): void {
    this.#forget(connection)
    this.#retiring.delete(connection)
    connection.rejectAll(new ConnectionError('CLOSED', 'the connection is closed'))
    this.#onQuiet()
    this.#openMore()
  }

  #tidyLater(): void {
    this.#tidy ??= setTimeout(() => {
      this.#tidy = undefined
      const before = performance.now() - MAX_IDLE_MS
      for (const connection of this.#idle.filter(({ idleSince }) => idleSince <= before)) {
        this.#forget(connection)
        connection.end()
      }
      if (this.#idle.length > 0) this.#tidyLater()
    }, MAX_IDLE_MS / 4).unref()
  }
}
