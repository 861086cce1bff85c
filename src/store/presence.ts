import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from '../observability/log.ts'
import type { Metrics } from '../observability/metrics.ts'
import type { Pool, TimedPool } from '../postgres/pool.ts'
import {
  beat,
  type ClosingOrder,
  closingOrders,
  registerInstance,
  removeDead,
  removeInstance,
  replaceOldest,
  writeConnections,
} from './connections.ts'

/** An open connection of this instance. */
export interface Present {
  readonly id: string
  readonly user: string
  readonly transport: string | undefined
  /** On the monotonic clock, ms. */
  readonly openedAt: number
}

export interface PresenceOptions {
  /** A pool of its own: behind other statements a beat could be too late. */
  readonly pool: TimedPool
  readonly instance: string
  readonly maxConnectionsPerUser: number
  /** Ends a connection of this instance. @returns whether it exists */
  readonly onOrder: (order: ClosingOrder) => boolean
  readonly log: Logger
  readonly metrics: Metrics
  /** The database's clock, ms since 1970: clocks of instances may differ. */
  readonly databaseNow: () => number
  readonly now?: () => number
}

const BEAT_MS = 2000
/** A single connection is recorded at once, a crowd in batches with this pause between them. */
const PAUSE_MS = 50
const MAX_ROWS = 2000
/** Pause after a failure. */
const RETRY_MS = 500
const PATIENCE_MS = 4000
const STOP_MS = 500

/**
 * Records in the database which connections are open here, for the other instances. Clients do not wait for it. While
 * Postgres is away nothing is recorded; afterwards all open connections are recorded again.
 */
export class Presence {
  readonly #options: PresenceOptions
  readonly #now: () => number
  readonly #here = new Map<string, Present>()
  #added = new Map<string, Present>()
  #removed = new Set<string>()
  /** Whether the database has everything that we recorded. */
  #known = false
  #called = false
  #busy = false
  #stopping = false
  #beatAt = Number.NEGATIVE_INFINITY
  #wake = () => {}
  #written: (() => void)[] = []
  #running: Promise<void> | undefined

  constructor(options: PresenceOptions) {
    this.#options = options
    this.#now = options.now ?? (() => performance.now())
  }

  start(): void {
    this.#running ??= this.#run()
  }

  opened(connection: Present): void {
    this.#here.set(connection.id, connection)
    this.#added.set(connection.id, connection)
    this.#wake()
  }

  closed(id: string): void {
    if (!this.#here.delete(id)) return
    // A connection that opened and closed between two batches is never recorded.
    if (!this.#added.delete(id)) this.#removed.add(id)
    this.#wake()
  }

  /** Another instance left close requests for us. */
  called(): void {
    this.#called = true
    this.#wake()
  }

  /** Resolves when all changes so far are recorded, or when that failed; after one second at the latest. */
  written(): Promise<void> {
    // Changes in a statement in flight count too: the round after it resolves this.
    if ((!this.#pending && !this.#busy) || this.#stopping) return Promise.resolve()
    const written = new Promise<void>((resolve) => {
      this.#written.push(resolve)
      this.#wake()
    })
    return Promise.race([written, sleep(1000, undefined, { ref: false })])
  }

  /** Removes this instance and its connections from the database. */
  async stop(leftMs: number): Promise<void> {
    this.#stopping = true
    this.#wake()
    await Promise.race([this.#running, sleep(Math.min(leftMs, STOP_MS), undefined, { ref: false })])
    const { pool, instance, log } = this.#options
    // If it fails, the other instances notice within seconds.
    await pool
      .within(Math.min(leftMs, STOP_MS), (sql) => removeInstance(sql, instance))
      .catch((error) => log.debug({ err: error }, 'this instance could not take itself out'))
    await pool.end({ timeout: 0 })
  }

  get #pending(): boolean {
    return this.#added.size > 0 || this.#removed.size > 0 || this.#called || this.#written.length > 0
  }

  async #run(): Promise<void> {
    while (!this.#stopping) {
      const waiting = this.#written
      this.#written = []
      this.#busy = true
      try {
        await this.#round()
      } catch (error) {
        this.#options.log.debug(
          { err: error },
          'presence could not be written; the next round writes it in whole',
        )
        this.#known = false
      }
      this.#busy = false
      for (const resolve of waiting) resolve()
      await this.#pause(this.#known ? PAUSE_MS : RETRY_MS)
      if (!this.#pending) await this.#pause(this.#beatAt + BEAT_MS - this.#now(), () => this.#pending)
    }
    for (const resolve of this.#written) resolve()
  }

  async #round(): Promise<void> {
    const { instance, maxConnectionsPerUser, metrics } = this.#options
    if (!this.#known) {
      // First the close requests: registering deletes the rows that hold them.
      await this.#applyCloseRequests()
      await this.#ask((sql) => registerInstance(sql, instance))
      this.#added = new Map(this.#here)
      this.#removed.clear()
      this.#known = true
    }
    if (this.#added.size > 0 || this.#removed.size > 0) {
      const added = [...take(this.#added.values(), MAX_ROWS)]
      const removed = [...take(this.#removed.values(), MAX_ROWS)]
      for (const { id } of added) this.#added.delete(id)
      for (const id of removed) this.#removed.delete(id)
      metrics.batchRows.observe({ kind: 'connection' }, added.length + removed.length)
      const ahead = this.#options.databaseNow() - this.#now()
      const rows = added.map(({ id, user, transport = '', openedAt }) => ({
        id,
        user,
        transport,
        openedAt: openedAt + ahead,
      }))
      this.#known = await this.#ask((sql) => writeConnections(sql, instance, rows, removed))
      if (!this.#known) return
      if (added.length > 0) {
        const users = [...new Set(added.map(({ user }) => user))]
        await this.#ask((sql) => replaceOldest(sql, users, maxConnectionsPerUser))
      }
    }
    const due = this.#now() >= this.#beatAt + BEAT_MS
    if (due) await this.#beat()
    if (due || this.#called) await this.#applyCloseRequests()
  }

  async #beat(): Promise<void> {
    const { known, dead } = await this.#ask((sql) => beat(sql, this.#options.instance))
    this.#beatAt = this.#now()
    if (!known) this.#known = false
    if (dead) await this.#ask(removeDead)
  }

  async #applyCloseRequests(): Promise<void> {
    this.#called = false
    for (const order of await this.#ask((sql) => closingOrders(sql, this.#options.instance))) {
      // The connection is gone, but its row is still there.
      if (!this.#options.onOrder(order)) this.#removed.add(order.id)
    }
  }

  #ask<Result>(statement: (sql: Pool) => Promise<Result>): Promise<Result> {
    return this.#options.pool.within(PATIENCE_MS, statement)
  }

  /** @param early whether to return as soon as something happens */
  #pause(milliseconds: number, early = () => this.#stopping): Promise<void> {
    return new Promise((resolve) => {
      if (this.#stopping) return resolve()
      const timer = setTimeout(resolve, Math.max(milliseconds, 0)).unref()
      this.#wake = () => {
        if (!early() && !this.#stopping) return
        clearTimeout(timer)
        resolve()
      }
    })
  }
}

function* take<Item>(items: Iterable<Item>, most: number): Generator<Item> {
  let taken = 0
  for (const item of items) {
    if (taken++ >= most) return
    yield item
  }
}
