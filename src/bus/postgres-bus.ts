import { setTimeout as sleep } from 'node:timers/promises'
import { StartError } from '../errors.ts'
import type { Logger } from '../observability/log.ts'
import type { ConnectionOptions } from '../postgres/connection-url.ts'
import { type ListenOptions, ListenSession } from '../postgres/listen-session.ts'
import type { Bus, BusListener } from './bus.ts'
import { CALL_PREFIX, QUEUED } from './control.ts'
import { DatabaseClock } from './database-clock.ts'
import { readPayloads } from './payload.ts'
import { REST_MS, ReadingPace } from './reading-pace.ts'

export interface PostgresBusOptions {
  /** A direct connection; through a transaction pooler LISTEN succeeds and nothing ever arrives. */
  readonly connection: ConnectionOptions
  readonly listener: BusListener
  /**
   * Sends a payload on the channel over the way that writers use, and returns the history that is written there, its
   * channel, and what the clock shows there (ms since 1970); rejects where that can't be done now.
   */
  readonly notify: (
    payload: string,
  ) => Promise<{ readonly epoch: string; readonly channel: string; readonly clockMs: number }>
  readonly log: Logger
  /** Names this instance among all that hear the canary. */
  readonly instance: string
  readonly onRoundTrip?: (milliseconds: number) => void
  readonly onReplaced?: () => void
  readonly onAlive?: (alive: boolean) => void
  readonly now?: () => number
  /** Where another reads the database's clock too. */
  readonly clock?: DatabaseClock
  readonly canaryIntervalMs?: number
  /** A canary later than this proves the way broken. */
  readonly canaryTimeoutMs?: number
  /** How a LISTEN session is opened; resolves once LISTEN is in force. */
  readonly openSession?: (options: ListenOptions) => Promise<BusSession>
}

/** What the bus needs of a LISTEN session. */
type BusSession = Pick<ListenSession, 'heard' | 'answers' | 'rest' | 'end'>

const CANARY_INTERVAL_MS = 1500
const CANARY_TIMEOUT_MS = 2500
const MAX_BACKOFF_MS = 2000

/** Much cheaper than `queueMicrotask`, which makes an asynchronous resource of each. */
const SOON = Promise.resolve()

const SESSION_ENDED = 'the LISTEN session ended'

/**
 * LISTEN, supervised. A canary, a NOTIFY over the writers' way that must come back here, proves the whole way every
 * few seconds: a half-open or stopped session gives no sign of its own, for ever. Where it is late, or the session
 * ends, a new session takes over, and the listener is told of the gap once LISTEN is in force again.
 */
export class PostgresBus implements Bus {
  readonly clock: DatabaseClock
  readonly #options: Required<
    Pick<PostgresBusOptions, 'now' | 'canaryIntervalMs' | 'canaryTimeoutMs' | 'openSession'>
  > &
    PostgresBusOptions
  readonly #closing = new AbortController()
  readonly #pace: ReadingPace
  #session: BusSession | undefined
  #supervisor: Promise<void> | undefined
  #payloads: string[] = []
  #alive = false
  /** Since when no message has arrived, and what of it was said: a night's outage takes two lines, not one an attempt. */
  #outage: { readonly since: number; refusalTold: boolean } | undefined
  /** Why the last canary did not come back. */
  #problem = ''
  /** Whether the last canary could not even be sent, which says nothing against the session that listens. */
  #unsent = false
  #canary = { payload: '', sentAt: 0, returned: () => {} }
  #sessionClosed = () => {}

  constructor(options: PostgresBusOptions) {
    this.#options = {
      now: () => performance.now(),
      canaryIntervalMs: CANARY_INTERVAL_MS,
      canaryTimeoutMs: CANARY_TIMEOUT_MS,
      openSession: (session) => ListenSession.open(session),
      ...options,
    }
    this.clock = options.clock ?? new DatabaseClock(this.#options.now)
    this.#pace = new ReadingPace(this.#options.now)
  }

  get alive(): boolean {
    return this.#alive
  }

  async start(): Promise<void> {
    await this.#connect().catch((error: Error) => {
      throw new StartError(`LISTEN_DATABASE_URL or DATABASE_URL: LISTEN failed: ${error.message}`, {
        cause: error,
      })
    })
    if (!(await this.#probe())) {
      this.#session?.end()
      throw new StartError(
        'LISTEN_DATABASE_URL: a NOTIFY sent over DATABASE_URL did not arrive here; LISTEN needs a direct connection ' +
          'to the same database, not one through a transaction pooler',
      )
    }
    this.#supervisor = this.#supervise()
  }

  /** LISTEN hears of everybody. */
  follow(): undefined {}

  unfollow(): void {}

  async close(): Promise<void> {
    this.#closing.abort()
    this.#session?.end()
    this.#alive = false
    await this.#supervisor
  }

  async #supervise(): Promise<void> {
    while (!this.#closing.signal.aborted) {
      const interrupted = new Promise<'closed'>((resolve) => {
        this.#sessionClosed = () => resolve('closed')
      })
      const reason = await Promise.race([
        sleep(this.#options.canaryIntervalMs, 'due' as const, {
          signal: this.#closing.signal,
          ref: false,
        }).catch(() => 'end' as const),
        interrupted,
      ])
      if (reason === 'end') return
      if (reason === 'due' && (await this.#probe())) continue
      if (this.#closing.signal.aborted) return
      if (reason === 'due' && this.#unsent && (await this.#sessionAnswers())) continue
      await this.#replace(reason === 'closed' ? SESSION_ENDED : this.#problem)
    }
  }

  /**
   * Where no canary can be sent (Postgres takes no more connections, or a standby that commits wait for is gone), a
   * session that still answers is kept: it hears what others write, and another might not be let in.
   */
  async #sessionAnswers(): Promise<boolean> {
    const answers = (await this.#session?.answers(this.#options.canaryTimeoutMs)) === true
    if (answers && this.#outage === undefined) {
      this.#outage = { since: this.#options.now(), refusalTold: false }
      this.#options.log.warn(
        { reason: this.#problem },
        'the test notification could not be sent; still listening',
      )
    }
    return answers
  }

  /** Sends a canary; whether it came back in time. */
  async #probe(): Promise<boolean> {
    this.#unsent = false
    const sentAt = this.#options.now()
    const payload = `\t${this.#options.instance}\t${sentAt}`
    const returned = new Promise<boolean>((resolve) => {
      this.#canary = { payload, sentAt, returned: () => resolve(true) }
      this.#sessionClosed = () => {
        this.#problem = SESSION_ENDED
        resolve(false)
      }
    })
    this.#problem = 'the canary is late'
    const sent = this.#options.notify(payload).then(
      // A session that hears of another history than is written (the log was re-created under it) knows it wrong.
      ({ epoch, channel, clockMs }) => {
        this.clock.read(clockMs, sentAt)
        const heard = this.#session?.heard
        if (epoch === heard?.epoch && channel === heard.channel) return returned
        this.#problem = 'the database has another history'
        return false
      },
      (error: Error) => {
        this.#unsent = true
        this.#problem = `the canary could not be sent: ${error.message}`
        this.#options.log.debug({ err: error }, 'the canary could not be sent')
        return false
      },
    )
    const late = sleep(this.#options.canaryTimeoutMs, false, {
      signal: this.#closing.signal,
      ref: false,
    }).catch(() => false)
    const alive = await Promise.race([sent, late])
    this.#setAlive(alive)
    if (alive) this.#options.onRoundTrip?.(this.#options.now() - sentAt)
    return alive
  }

  #setAlive(alive: boolean): void {
    if (alive === this.#alive) return
    this.#alive = alive
    this.#options.onAlive?.(alive)
    if (!alive) return
    const outageMs = this.#outage && Math.round(this.#options.now() - this.#outage.since)
    this.#outage = undefined
    this.#options.log.info({ outageMs }, 'the bus is live')
  }

  async #replace(reason: string): Promise<void> {
    this.#setAlive(false)
    const { log } = this.#options
    if (this.#outage === undefined)
      log.warn({ reason }, 'replacing the LISTEN session; events wait in the log meanwhile')
    else log.debug({ reason }, 'replacing the LISTEN session again')
    this.#outage ??= { since: this.#options.now(), refusalTold: false }
    this.#options.onReplaced?.()
    this.#session?.end()
    this.#session = undefined
    for (
      let backoffMs = 50;
      !this.#closing.signal.aborted;
      backoffMs = Math.min(backoffMs * 2, MAX_BACKOFF_MS)
    ) {
      try {
        await this.#connect()
        await this.#probe()
        return
      } catch (error) {
        const reason = (error as Error).message
        if (this.#outage?.refusalTold === false)
          log.warn({ reason }, 'cannot LISTEN on the database; retrying')
        else log.debug({ reason }, 'LISTEN failed')
        if (this.#outage !== undefined) this.#outage.refusalTold = true
        await sleep(backoffMs * (0.5 + Math.random() / 2), undefined, { signal: this.#closing.signal }).catch(
          () => {},
        )
      }
    }
  }

  async #connect(): Promise<void> {
    const session = await this.#options.openSession({
      connection: this.#options.connection,
      connectTimeoutMs: this.#options.canaryTimeoutMs,
      onPayload: (payload) => this.#take(payload),
      onClosed: () => this.#sessionClosed(),
    })
    if (this.#closing.signal.aborted) {
      session.end()
      return
    }
    this.#session = session
    this.#options.listener.onGap(session.heard.epoch)
  }

  /** Payloads that arrive in one chunk are read together: a user's events among them then leave in one write. */
  #take(payload: string): void {
    if (payload.charCodeAt(0) === 9) {
      if (payload === this.#canary.payload) this.#canary.returned()
      else if (payload === CALL_PREFIX + this.#options.instance) this.#options.listener.onCall()
      else if (payload === QUEUED) this.#options.listener.onQueued()
      return
    }
    if (this.#payloads.push(payload) === 1) void SOON.then(this.#read)
  }

  readonly #read = (): void => {
    const payloads = this.#payloads
    this.#payloads = []
    // What comes while a session opens is before its gap, and so in the heads that are read because of it.
    const session = this.#session
    if (session === undefined) return
    try {
      const unwanted = readPayloads(session.heard.epoch, payloads, this.#options.listener)
      if (this.#pace.read(unwanted)) session.rest(REST_MS)
    } catch (error) {
      // The driver would swallow it; the log still has the events, and the sweep delivers them.
      this.#options.log.error({ err: error }, 'a bus message could not be read')
    }
  }
}
