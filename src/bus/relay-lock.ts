import { pause } from '../limits/pause.ts'
import { withTimeout } from '../limits/with-timeout.ts'
import type { Logger } from '../observability/log.ts'
import type { ListenOptions } from '../postgres/listen-session.ts'
import type { Link } from './nats-link.ts'

/** The driver's session that asks for the lock. */
type Ask = Parameters<NonNullable<ListenOptions['admit']>>[0]

/** The first of the two keys of the advisory lock; the second is of the namespace. "glim" */
const LOCK_CLASS = 0x676c_696d
const POLL_MS = 250
/** After this time without a beat a standby looks up the session of the relay. */
const SUSPICION_MS = 1500
/** A standby whose own connections work, but that has received no beat for this long, ends the session of the relay. */
export const SILENCE_MS = 3000
const TIMEOUT_MS = 2500

/** A standby ends its wait for the lock because NATS is away or the relay closes. */
export class NoStandby extends Error {
  override readonly message = 'no longer a standby'
}

export interface RelayLockOptions {
  readonly link: Pick<Link, 'up' | 'roundTrip'>
  readonly namespace: string
  readonly log: Logger
  readonly now: () => number
  /** Called each time that another relay is found to hold it. */
  readonly onHeld: () => void
}

/** The advisory lock by which only one relay of a database and a namespace works: who holds it, and when it is taken away. */
export class RelayLock {
  readonly #options: RelayLockOptions
  #lastBeat = 0

  constructor(options: RelayLockOptions) {
    this.#options = options
  }

  /** A beat came, or could not have come until now. */
  heardBeat(): void {
    this.#lastBeat = this.#options.now()
  }

  /**
   * Resolves once this session holds the lock; rejects with NoStandby after the signal, or where NATS is away. It asks again
   * and again: one that waited for the lock would hold a snapshot, and so vacuum, for as long.
   */
  async take(sql: Ask, signal: AbortSignal): Promise<void> {
    const { link, namespace, now, log, onHeld } = this.#options
    let silentSince = now()
    let suspect: number | undefined
    while (!signal.aborted && link.up) {
      const asked = sql<[{ locked: boolean }]>`
        select pg_try_advisory_lock(${LOCK_CLASS}, hashtext(${namespace})) as locked`
      const [{ locked }] = await withDeadline(asked)
      if (locked) return
      onHeld()
      silentSince = Math.max(silentSince, this.#lastBeat)
      const silentMs = now() - silentSince
      if (silentMs < SUSPICION_MS) suspect = undefined
      else suspect ??= await withDeadline(holderOf(sql, namespace))
      // Without a round trip of our own, it might be us who hears nothing.
      if (silentMs > SILENCE_MS && (await link.roundTrip(TIMEOUT_MS))) {
        silentSince = now()
        log.warn('the relay is silent; ending its session to take over')
        // Another standby may have been quicker: whoever holds the lock by now must be the one that was silent.
        if (suspect !== undefined && suspect === (await withDeadline(holderOf(sql, namespace))))
          await withDeadline(sql`select pg_terminate_backend(${suspect})`)
      }
      await pause(POLL_MS * (0.8 + 0.4 * Math.random()), signal)
    }
    throw new NoStandby()
  }
}

/** The server process of the session that holds the lock: that of the working relay. */
export async function holderOf(sql: Ask, namespace: string): Promise<number | undefined> {
  const [row] = await sql<[{ pid: number }?]>`
    select pid from pg_locks
     where locktype = 'advisory' and granted and objsubid = 2
       and database = (select oid from pg_database where datname = current_database())
       and classid::bigint = ${LOCK_CLASS}::bigint and objid::bigint = hashtext(${namespace})::bigint & 4294967295`
  return row?.pid
}

function withDeadline<Answer>(answer: PromiseLike<Answer>): Promise<Answer> {
  return withTimeout(TIMEOUT_MS, Promise.resolve(answer), () => new Error('no answer in time'))
}
