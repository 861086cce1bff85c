import { ConnectionError } from './connection-error.ts'
import type { ConnectionOptions } from './connection-url.ts'
import { Job, PooledConnection } from './pooled-connection.ts'
import { SESSION_SETTINGS, Session } from './session.ts'

/** The connections of a pool now, and what its statements have waited for since the start. */
export interface PoolUsage {
  /** Most connections at once. */
  readonly max: number
  /** Connections with a statement under way, those that are being given up included. */
  readonly busy: number
  readonly idle: number
  readonly opening: number
  /** Statements that wait for a connection now. */
  readonly waiting: number
  /** Statements that had to wait for a connection, and how long all of them together did. */
  readonly waits: number
  readonly waitedSeconds: number
  /** Statements that had no answer before their deadline. */
  readonly timedOut: number
}

export interface PoolOptions {
  /** Most connections at once. */
  readonly max: number
  /** How long a statement may take, waiting for a connection included. */
  readonly deadlineMs?: number
  /** How many statements may be under way on one connection, behind each other. */
  readonly pipeline?: number
  readonly pooler?: 'none' | 'transaction'
  /** Nothing came over a connection since then (on the clock of performance.now()): others may be silent too. */
  readonly onSilence?: (since: number) => void
  /** Each statement's end, with what it failed by. */
  readonly onSettled?: (error?: unknown) => void
}

const DEADLINE_MS = 5000
/** While Postgres is away: each attempt to connect is this far from the last, at most. */
const MIN_BACKOFF_MS = 50
const MAX_BACKOFF_MS = 500
/** One that nobody needed for so long is closed; networks forget flows that are silent for longer. */
const MAX_IDLE_MS = 240_000

/**
 * Statements that wait, and the connections that carry them. Each statement ends in time: what passes its deadline is
 * cancelled on the server, its connection is destroyed (a peer that fell silent answers no cancel), and its caller is told
 * at once. A connection that goes bad goes alone: statements on the others are not touched.
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
  /** Those that take statements, the idle ones included. */
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

  /** Closes the idle connections that nobody has heard of since then; new ones are made when needed. */
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

  /** An idle connection; else, where statements may follow each other, one with room. */
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

  /** The connection has room again. */
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
        // The server's own end for what no cancel reaches.
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

  /** No connection could be made. Where others work, what waits goes on waiting for those; else it is told why. */
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
