import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from '../log.ts'
import type { Metrics } from '../metrics.ts'
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
import type { Pool } from './pool.ts'
import type { TimedPool } from './timed-pool.ts'

/** An open connection of this instance. */
export interface Present {
  readonly id: string
  readonly user: string
  readonly transport: string | undefined
  /** On the monotonic clock, ms. */
  readonly openedAt: number
}

export interface PresenceOptions {
  /** Its own: behind other statements a beat could come too late. */
  readonly pool: TimedPool
  readonly instance: string
  readonly maxConnectionsPerUser: number
  /** A connection of this instance is to be ended. @returns whether there is such a one */
  readonly onOrder: (order: ClosingOrder) => boolean
  readonly log: Logger
  readonly metrics: Metrics
  readonly now?: () => number
}

const BEAT_MS = 2000
/** A lone connection is written down at once, and a crowd in batches this far apart. */
const PAUSE_MS = 50
const MAX_ROWS = 2000
/** After a failure. */
const RETRY_MS = 500
const PATIENCE_MS = 4000
const STOP_MS = 500
/** For so long a beat's reading of the database's clock is preferred to those that took longer. */
const CLOCK_MS = 60_000
const CLOCK_SAMPLES = 3

/**
 * Which connections are open here, kept in the database for the other instances to see. Nobody who connects waits for
 * it, and without Postgres everything goes on: what can't be written is written again, in whole, once it can be.
 */
export class Presence {
  readonly #options: PresenceOptions
  readonly #now: () => number
  readonly #here = new Map<string, Present>()
  #added = new Map<string, Present>()
  #removed = new Set<string>()
  /** Whether the database has what we told it. */
  #known = false
  #called = false
  #busy = false
  #stopping = false
  #beatAt = Number.NEGATIVE_INFINITY
  /** From our monotonic clock to the database's, in ms, as the fastest beat of late told it. */
  #clock = { offset: 0, trip: Infinity, askedAt: Number.NEGATIVE_INFINITY }
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
    // What came and went between two batches is never written.
    if (!this.#added.delete(id)) this.#removed.add(id)
    this.#wake()
  }

  /** Another instance, or a user, asked for connections here to be ended. */
  called(): void {
    this.#called = true
    this.#wake()
  }

  /** Resolves once what happened here so far is written down, or could not be; in a second at most. */
  written(): Promise<void> {
    // What a statement in flight carries is waited for too: the round after it answers.
    if ((!this.#pending && !this.#busy) || this.#stopping) return Promise.resolve()
    const written = new Promise<void>((resolve) => {
      this.#written.push(resolve)
      this.#wake()
    })
    return Promise.race([written, sleep(1000, undefined, { ref: false })])
  }

  /** Takes this instance and its connections out. */
  async stop(leftMs: number): Promise<void> {
    this.#stopping = true
    this.#wake()
    await Promise.race([this.#running, sleep(Math.min(leftMs, STOP_MS), undefined, { ref: false })])
    const { pool, instance, log } = this.#options
    // Where it fails the others notice within seconds.
    await pool
      .within(Math.min(leftMs, STOP_MS), (sql) => removeInstance(sql, instance))
      .catch((error) => log.debug({ err: error }, 'this instance could not take itself out'))
    await pool.end()
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
      // Registering writes all rows anew, without what was asked of them.
      await this.#obey()
      await this.#ask((sql) => registerInstance(sql, instance))
      for (let sample = 0; sample < CLOCK_SAMPLES; sample++) await this.#beat()
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
      const rows = added.map(({ id, user, transport = '', openedAt }) => ({
        id,
        user,
        transport,
        openedAt: openedAt + this.#clock.offset,
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
    if (due || this.#called) await this.#obey()
  }

  async #beat(): Promise<void> {
    const askedAt = this.#now()
    const { known, dead, clock } = await this.#ask((sql) => beat(sql, this.#options.instance))
    this.#setClock(askedAt, clock)
    this.#beatAt = this.#now()
    if (!known) this.#known = false
    if (dead) await this.#ask(removeDead)
  }

  /** The database read its clock somewhere between the question and now: the sooner its answer came, the surer when. */
  #setClock(askedAt: number, clock: number): void {
    const now = this.#now()
    const trip = now - askedAt
    const old = now - this.#clock.askedAt > CLOCK_MS
    if (trip > this.#clock.trip && !old) return
    this.#clock = { offset: clock - (askedAt + now) / 2, trip, askedAt }
  }

  async #obey(): Promise<void> {
    this.#called = false
    for (const order of await this.#ask((sql) => closingOrders(sql, this.#options.instance))) {
      // The row of one that is gone already: somebody else's write came after our own.
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
