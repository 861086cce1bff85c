import type postgres from 'postgres'
import { ConnectionError } from './connection-error.ts'
import { type ConnectionOptions, parseConnectionUrl } from './connection-url.ts'
import { fromTheFirst } from './rows.ts'
import { SESSION_SETTINGS, Session } from './session.ts'

/**
 * What statements are sent through: a tagged template, for statements and for fragments of them. A statement is sent
 * where it is awaited.
 */
export type Pool = Statement & { end(options?: { timeout?: number }): Promise<void> }

/** A pool that can also give statements less time, or more, than it gives them by itself. */
export type TimedPool = Pool & {
  /** All statements of the work together may take so long. */
  within<Result>(milliseconds: number, work: (sql: Pool) => Promise<Result>): Promise<Result>
  /** Closes the idle connections that nobody has heard of since then, on the clock of performance.now(). */
  doubt(since: number): void
  /** What the pool is at, for metrics. */
  readonly usage: PoolUsage
}

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

type Statement = <Rows extends readonly (object | undefined)[] = postgres.Row[]>(
  strings: TemplateStringsArray,
  ...values: readonly postgres.ParameterOrFragment<never>[]
) => postgres.PendingQuery<Rows>

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
/** How long the server may take to end what was cancelled, before its connection is destroyed. */
const RETIRE_MS = 1000
/** While Postgres is away: each attempt to connect is this far from the last, at most. */
const MIN_BACKOFF_MS = 50
const MAX_BACKOFF_MS = 500
/** A connection lives an hour at most, or half of one, so that neither memory nor a balancer's old choice stays for ever. */
const MAX_AGE_MS = 3_600_000
/** One that nobody needed for so long is closed; networks forget flows that are silent for longer. */
const MAX_IDLE_MS = 240_000

interface Job {
  readonly strings: TemplateStringsArray
  readonly values: readonly unknown[]
  readonly resolve: (rows: unknown) => void
  readonly reject: (error: unknown) => void
  readonly timer: NodeJS.Timeout
  /** On the clock of performance.now(); 0 where it did not have to wait for a connection. */
  queuedAt: number
  /** None before it is sent. */
  line: Line | undefined
  sentAt: number
  /** What the connection had read when the statement was sent. */
  bytesRead: number
  settled: boolean
}

/** A connection of the pool, with what is under way on it. */
interface Line {
  readonly session: Session
  readonly jobs: Set<Job>
  readonly endsAt: number
  idleSince: number
}

/**
 * Connections for statements, each of which ends in time: what passes its deadline is cancelled on the server, its
 * connection is destroyed (a peer that fell silent answers no cancel), and its caller is told at once. A connection that
 * goes bad goes alone: statements on the others are not touched.
 *
 * A connection is opening → idle ⇄ busy → retiring → closed. A retiring one takes no new statement. It closes when those
 * in flight have ended: each in its own time, and the last, once it is cancelled, within a second.
 */
class Connections {
  readonly #connection: ConnectionOptions
  readonly #purpose: string
  readonly #options: Required<PoolOptions>
  readonly #idle: Line[] = []
  readonly #lines = new Set<Line>()
  readonly #retiring = new Set<Line>()
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
      busy: this.#lines.size - this.#idle.length + this.#retiring.size,
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
      const job: Job = {
        strings,
        values,
        resolve,
        reject,
        timer: setTimeout(() => this.#expire(job, deadlineMs), leftMs),
        queuedAt: 0,
        line: undefined,
        sentAt: 0,
        bytesRead: 0,
        settled: false,
      }
      const line = this.#free()
      if (line !== undefined) {
        this.#send(job, line)
        return
      }
      job.queuedAt = performance.now()
      this.#waiting.add(job)
      this.#openMore()
    })
  }

  /** Closes the idle connections that nobody has heard of since then; new ones are made when needed. */
  doubt(since: number): void {
    for (const line of this.#idle.filter(({ idleSince }) => idleSince < since)) {
      this.#forget(line)
      line.session.destroy()
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
      this.#waiting.size > 0 || [...this.#lines, ...this.#retiring].some(({ jobs }) => jobs.size > 0)
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
    for (const line of [...this.#lines, ...this.#retiring]) {
      if (line.jobs.size === 0) void line.session.end()
      else {
        line.session.cancel()
        line.session.destroy(ended)
      }
    }
  }

  /** An idle connection; else, where statements may follow each other, one with room. */
  #free(): Line | undefined {
    let idle = this.#idle.pop()
    while (idle?.session.closed) idle = this.#idle.pop()
    if (idle !== undefined || this.#options.pipeline === 1) return idle
    for (const line of this.#lines)
      if (line.jobs.size < this.#options.pipeline && !line.session.closed) return line
    return undefined
  }

  #send(job: Job, line: Line): void {
    job.line = line
    job.sentAt = performance.now()
    if (job.queuedAt > 0) this.#countWait(job.sentAt - job.queuedAt)
    job.bytesRead = line.session.bytesRead
    line.jobs.add(job)
    const { sql } = line.session
    const values = job.values.map((value) => (value instanceof Lazy ? value.fragmentFor(sql) : value))
    sql(job.strings, ...(values as postgres.ParameterOrFragment<never>[])).then(
      (rows) => {
        if (!job.settled) {
          job.settled = true
          this.#options.onSettled()
          job.resolve(fromTheFirst(rows))
        }
        this.#left(job, line)
      },
      (error) => {
        this.#reject(job, error)
        this.#left(job, line)
      },
    )
  }

  #countWait(milliseconds: number): void {
    this.#waits++
    this.#waitedMs += milliseconds
  }

  /** The server is done with a statement, whether or not its caller was told before. */
  #left(job: Job, line: Line): void {
    clearTimeout(job.timer)
    line.jobs.delete(job)
    this.#release(line)
    this.#onQuiet()
  }

  #reject(job: Job, error: unknown): void {
    clearTimeout(job.timer)
    if (job.settled) return
    job.settled = true
    this.#options.onSettled(error)
    job.reject(error)
  }

  #rejectWaiting(error: unknown): void {
    for (const job of this.#waiting) this.#reject(job, error)
    this.#waiting.clear()
  }

  #nextWaiting(): Job | undefined {
    const [job] = this.#waiting
    if (job !== undefined) this.#waiting.delete(job)
    return job
  }

  /** The connection has room again. */
  #release(line: Line): void {
    if (this.#retiring.has(line)) {
      if (line.jobs.size === 0) this.#close(line)
      return
    }
    if (line.session.closed || !this.#lines.has(line)) return
    const next = this.#nextWaiting()
    if (next !== undefined) {
      this.#send(next, line)
      return
    }
    if (line.jobs.size > 0) return
    if (performance.now() > line.endsAt) {
      this.#forget(line)
      void line.session.end()
      return
    }
    line.idleSince = performance.now()
    this.#idle.push(line)
    this.#tidyLater()
  }

  #expire(job: Job, deadlineMs: number): void {
    const { line } = job
    this.#timedOut++
    this.#reject(job, new ConnectionError('TIMEOUT', `no answer within ${deadlineMs} ms`))
    if (line === undefined) {
      this.#waiting.delete(job)
      this.#countWait(performance.now() - job.queuedAt)
      this.#onQuiet()
      return
    }
    const silent = line.session.bytesRead === job.bytesRead
    this.#retire(line)
    if (silent) {
      this.doubt(job.sentAt)
      this.#options.onSilence(job.sentAt)
    }
  }

  #retire(line: Line): void {
    if (!this.#retiring.has(line)) {
      this.#forget(line)
      this.#retiring.add(line)
      this.#openMore()
    }
    // One behind it might be what the server is at when the request comes. Cancelled while it waits for a synchronous
    // standby, it would even be reported as done.
    for (const job of line.jobs) if (!job.settled) return
    // Left alone, a backend that waits for a lock would not notice that its client is gone.
    line.session.cancel()
    setTimeout(() => {
      if (this.#retiring.has(line)) this.#close(line)
    }, RETIRE_MS)
  }

  #close(line: Line): void {
    this.#retiring.delete(line)
    line.session.destroy(
      new ConnectionError('CLOSED', 'the connection was given up: a statement took too long'),
    )
  }

  #forget(line: Line): void {
    this.#lines.delete(line)
    const at = this.#idle.indexOf(line)
    if (at !== -1) this.#idle.splice(at, 1)
  }

  #openMore(): void {
    if (this.#ended !== undefined || this.#reopen !== undefined) return
    const room = this.#options.max - this.#lines.size - this.#opening
    const wanted = Math.min(room, Math.ceil(this.#waiting.size / this.#options.pipeline) - this.#opening)
    for (let i = 0; i < wanted; i++) void this.#open()
  }

  async #open(): Promise<void> {
    this.#opening++
    try {
      const { pooler, deadlineMs } = this.#options
      const session = await Session.open({
        connection: this.#connection,
        primary: true,
        purpose: this.#purpose,
        // The server's own end for what no cancel reaches.
        settings:
          pooler === 'transaction'
            ? undefined
            : {
                ...SESSION_SETTINGS,
                statement_timeout: `${deadlineMs + 1000}`,
              },
        prepare: pooler === 'none',
        onClosed: () => this.#closed(line),
      })
      const line: Line = {
        session,
        jobs: new Set(),
        endsAt: performance.now() + MAX_AGE_MS * (0.5 + Math.random() / 2),
        idleSince: 0,
      }
      this.#opening--
      this.#failures = 0
      if (this.#ended !== undefined && this.#waiting.size === 0) {
        void session.end()
        return
      }
      this.#lines.add(line)
      for (let n = 1; n < this.#options.pipeline; n++) {
        const job = this.#nextWaiting()
        if (job !== undefined) this.#send(job, line)
      }
      this.#release(line)
    } catch (error) {
      this.#opening--
      this.#failures++
      this.#refused(error)
    }
  }

  /** No connection could be made. Where others work, what waits goes on waiting for those; else it is told why. */
  #refused(error: unknown): void {
    if (this.#lines.size === 0 && this.#opening === 0) {
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

  #closed(line: Line): void {
    this.#forget(line)
    this.#retiring.delete(line)
    // What was given to the driver between the socket's error and its close is never answered by it.
    for (const job of line.jobs) this.#reject(job, new ConnectionError('CLOSED', 'the connection is closed'))
    line.jobs.clear()
    this.#onQuiet()
    this.#openMore()
  }

  #tidyLater(): void {
    this.#tidy ??= setTimeout(() => {
      this.#tidy = undefined
      const before = performance.now() - MAX_IDLE_MS
      for (const line of this.#idle.filter(({ idleSince }) => idleSince <= before)) {
        this.#forget(line)
        void line.session.end()
      }
      if (this.#idle.length > 0) this.#tidyLater()
    }, MAX_IDLE_MS / 4).unref()
  }
}

/** A statement, or a fragment of one, before anybody awaits it. */
class Lazy implements PromiseLike<unknown> {
  readonly #run: () => Promise<unknown>
  readonly #strings: TemplateStringsArray
  readonly #values: readonly unknown[]
  #result: Promise<unknown> | undefined

  constructor(strings: TemplateStringsArray, values: readonly unknown[], run: () => Promise<unknown>) {
    this.#strings = strings
    this.#values = values
    this.#run = run
  }

  /** As a part of another statement. */
  fragmentFor(sql: postgres.Sql): unknown {
    const values = this.#values.map((value) => (value instanceof Lazy ? value.fragmentFor(sql) : value))
    return sql(this.#strings, ...(values as postgres.ParameterOrFragment<never>[]))
  }

  // biome-ignore lint/suspicious/noThenProperty: a statement is sent where it is awaited, as the driver's own are.
  then<A = unknown, B = never>(
    fulfilled?: ((value: unknown) => A | PromiseLike<A>) | null,
    rejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    this.#result ??= this.#run()
    return this.#result.then(fulfilled, rejected)
  }

  catch<B = never>(rejected?: ((reason: unknown) => B | PromiseLike<B>) | null): Promise<unknown> {
    return this.then(undefined, rejected)
  }

  finally(settled?: (() => void) | null): Promise<unknown> {
    return this.then().finally(settled)
  }
}

/**
 * A pool of connections for statements. Nothing is connected before the first statement.
 *
 * @param purpose what the connections are for, as their names in pg_stat_activity end
 */
export function openPool(connection: ConnectionOptions, purpose: string, options: PoolOptions): TimedPool {
  const connections = new Connections(connection, purpose, options)
  const end = ({ timeout = 5 } = {}) => connections.end(timeout * 1000)
  const statement = (deadlineMs: number, leftMs: () => number) =>
    ((strings: TemplateStringsArray, ...values: readonly unknown[]) =>
      new Lazy(strings, values, () =>
        connections.run(strings, values, leftMs(), deadlineMs),
      )) as unknown as Statement
  const pool = Object.assign(
    statement(connections.deadlineMs, () => connections.deadlineMs),
    {
      end,
      doubt: (since: number) => connections.doubt(since),
      within<Result>(milliseconds: number, work: (sql: Pool) => Promise<Result>): Promise<Result> {
        const deadline = performance.now() + milliseconds
        const leftMs = () => Math.max(0, deadline - performance.now())
        return work(Object.assign(statement(milliseconds, leftMs), { end }))
      },
    },
  )
  return Object.defineProperty(pool, 'usage', { get: () => connections.usage }) as TimedPool
}

/** A pool for a URL that nothing has parsed yet. */
export function createPool(url: string, max: number, purpose: string): TimedPool {
  return openPool(parseConnectionUrl(url), purpose, { max })
}
