import { once } from 'node:events'
import type { Recipient } from '../bus/bus.ts'
import { PostgresBus } from '../bus/postgres-bus.ts'
import type { GlimpseEvent } from '../client/index.ts'
import { Cursors } from '../cursor.ts'
import { eventText, isBodyOf } from '../event.ts'
import { pause } from '../limits/pause.ts'
import { createLogger, instanceOf } from '../observability/log.ts'
import { Database, DEADLINES } from '../postgres/database.ts'
import type { Pool } from '../postgres/pool.ts'
import { Canary } from '../store/canary.ts'
import { EventLog } from '../store/event-log.ts'
import type { Environment } from './command.ts'
import { findDirectDatabase } from './database.ts'
import type { Printer } from './event-printer.ts'

/** Users that are read in one statement. */
const USERS_AT_ONCE = 50
const RETRY_MS = 1000
/** How long before the connection was last proven a transaction may have logged an event that it committed after. */
const OPEN_TRANSACTION_MS = 60_000
/** Users whose place is remembered: past it the one that was silent for longest is forgotten, and begins with its next event. */
const MAX_USERS = 100_000

/**
 * Prints the events of all users from now on, until told to end or the printer has printed enough. Notifications only say
 * whose log to read, so that a slow terminal holds up nothing and piles up no bodies; each stream is read on from the event
 * that was printed last.
 *
 * @throws StartError where the database cannot be had
 */
export async function followAll(
  environment: Environment,
  printer: Printer,
  signal: AbortSignal,
): Promise<void> {
  const database = new Database(await findDirectDatabase(environment))
  const log = createLogger('silent')
  const pool = (purpose: 'canary' | 'log', max: number) =>
    database.open(purpose, { max, deadlineMs: DEADLINES[purpose] })
  const canary = new Canary(pool('canary', 1))
  const streams = new AllStreams(pool('log', 2), printer)
  const bus = new PostgresBus({
    connection: database.connection,
    log,
    instance: `tail-${instanceOf(log)}`,
    notify: async (payload) => {
      const shown = await canary.send(payload)
      streams.proven(shown.clockMs)
      return shown
    },
    onAlive: (alive) => printer.say(alive ? 'live over Postgres' : 'the database does not answer; retrying'),
    listener: {
      recipient: (user) => streams.recipient(user),
      onHandedOn: () => {},
      onCall: () => {},
      onQueued: () => {},
      onDoubt: () => {},
      onGap: (epoch) => streams.gap(epoch),
    },
  })
  try {
    await bus.start()
    await Promise.race([streams.run(signal), signal.aborted ? undefined : once(signal, 'abort')])
  } finally {
    await bus.close()
    await database.end({ timeout: 1 })
  }
}

/** From where a stream is to be read, and up to which number at least. */
interface Behind {
  readonly after: number
  readonly upTo: number
}

/** Whose log has something new, and where each was read up to. */
class AllStreams {
  readonly #sql: Pool
  readonly #eventLog: EventLog
  readonly #printer: Printer
  readonly #places = new Map<string, number>()
  readonly #behind = new Map<string, Behind>()
  #epoch: string | undefined
  /** By the database's clock, ms since 1970: when the connection was first and last proven. */
  #firstProvenAt: number | undefined
  #provenAt = 0
  /** Since when users may have got events that nobody told of. */
  #lookSince: number | undefined
  #wake = () => {}

  constructor(sql: Pool, printer: Printer) {
    this.#sql = sql
    this.#eventLog = new EventLog(sql)
    this.#printer = printer
  }

  recipient(user: string): Recipient {
    return {
      push: (_epoch, { first, bodies }) => this.#hint(user, first, first + bodies.length - 1),
      announce: (_epoch, seq) => this.#hint(user, seq, seq),
      markRead: () => {},
    }
  }

  proven(clockMs: number): void {
    this.#firstProvenAt ??= clockMs
    // A gap is looked into before the time of the loss is forgotten.
    if (this.#lookSince === undefined) this.#provenAt = clockMs
  }

  /** The connection is in force, perhaps again. */
  gap(epoch: string): void {
    if (this.#epoch !== undefined && this.#epoch !== epoch) {
      this.#places.clear()
      this.#behind.clear()
      this.#printer.say('another history of the database has begun; starting with new events')
    } else if (this.#epoch !== undefined) {
      this.#lookSince = Math.max(this.#firstProvenAt ?? 0, this.#provenAt - OPEN_TRANSACTION_MS)
      this.#wake()
    }
    this.#epoch = epoch
  }

  /** Reads and prints until the signal, or until the printer has printed enough. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        if (this.#lookSince !== undefined) await this.#look(this.#lookSince)
        else if (this.#behind.size > 0) {
          if (await this.#readOn()) return
        } else
          await new Promise<void>((resolve) => {
            this.#wake = resolve
          })
      } catch {
        // The database is away, which the bus says. Whoever is behind stays so.
        await pause(RETRY_MS, signal)
      }
    }
  }

  #hint(user: string, first: number, last: number): void {
    const { after, upTo } = this.#behind.get(user) ?? { after: this.#places.get(user) ?? first - 1, upTo: 0 }
    if (last <= after) return
    this.#behind.set(user, { after, upTo: Math.max(upTo, last) })
    this.#wake()
  }

  /** Who got events while nobody could be told. */
  async #look(since: number): Promise<void> {
    const rows = await this.#sql<{ user: string; head: string; first: string | null }[]>`
      select user_id as user, head,
             (select min(seq) from glimpse.events e
               where e.user_id = s.user_id and logged_at >= to_timestamp(${since}::float8 / 1000)) as first
        from glimpse.streams s where head_at >= to_timestamp(${since}::float8 / 1000)`
    for (const { user, head, first } of rows) this.#hint(user, Number(first ?? head), Number(head))
    this.#lookSince = undefined
  }

  /** @returns whether the printer has printed enough */
  async #readOn(): Promise<boolean> {
    const some = [...this.#behind].slice(0, USERS_AT_ONCE)
    const pages = await Promise.all(some.map(([user, { after }]) => this.#eventLog.page(user, after)))
    for (const [i, [user, asked]] of some.entries()) {
      const page = pages[i]
      if (page === undefined) continue
      const cursors = new Cursors(user)
      let place = asked.after
      for (const [j, seq] of page.seqs.entries()) {
        const body = page.bodies[j] ?? ''
        // The first may be the one that was read from, which has no body here.
        if (seq <= place) continue
        if (seq > place + 1) this.#printer.say(`events ${place + 1} to ${seq - 1} of ${user} are missing`)
        place = seq
        if (!isBodyOf(seq, body)) continue
        const id = cursors.format(page.epoch, { seq, time: page.times[j] })
        if (await this.#printer.event(JSON.parse(eventText(id, body)) as GlimpseEvent, user)) return true
      }
      this.#move(user, place, page.complete ? asked.upTo : place)
    }
    return false
  }

  /** @param done nothing up to this number is left to read */
  #move(user: string, place: number, done: number): void {
    this.#places.delete(user)
    this.#places.set(user, place)
    if (this.#places.size > MAX_USERS) this.#places.delete(this.#places.keys().next().value ?? '')
    const upTo = this.#behind.get(user)?.upTo ?? 0
    // To the end, so that a busy user does not keep the others waiting.
    this.#behind.delete(user)
    if (upTo > Math.max(place, done)) this.#behind.set(user, { after: place, upTo })
  }
}
