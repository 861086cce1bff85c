import { setTimeout as sleep } from 'node:timers/promises'
import { StartError } from '../errors.ts'
import { pause } from '../limits/pause.ts'
import type { Logger } from '../observability/log.ts'
import type { ConnectionOptions } from '../postgres/connection-url.ts'
import { type ListenOptions, ListenSession } from '../postgres/listen-session.ts'
import type { Bus, BusListener } from './bus.ts'
import { CALL_PREFIX, QUEUED } from './control.ts'
import { DatabaseClock } from './database-clock.ts'
import { readPayloads } from './payload.ts'
import { REST_MS, ReadingPace } from './reading-pace.ts'

export interface PostgresBusOptions {
  /** A direct connection: through a transaction pooler LISTEN succeeds but nothing ever arrives. */
  readonly connection: ConnectionOptions
  readonly listener: BusListener
  /**
   * Sends a payload on the channel, by the connection that writers use. Returns the epoch and channel there and the server's
   * clock (ms since 1970); rejects if that is not possible now.
   */
  readonly notify: (
    payload: string,
  ) => Promise<{ readonly epoch: string; readonly channel: string; readonly clockMs: number }>
  readonly log: Logger
  /** The name of this instance in its canaries, which all instances receive. */
  readonly instance: string
  readonly onRoundTrip?: (milliseconds: number) => void
  readonly onReplaced?: () => void
  readonly onAlive?: (alive: boolean) => void
  readonly now?: () => number
  /** Where another reads the database's clock too. */
  readonly clock?: DatabaseClock
  readonly canaryIntervalMs?: number
  /** A canary that is later than this counts as lost. */
  readonly canaryTimeoutMs?: number
  /** Opens a LISTEN session; resolves when LISTEN is in force. */
  readonly openSession?: (options: ListenOptions) => Promise<BusSession>
}

/** What the bus uses of a LISTEN session. */
type BusSession = Pick<ListenSession, 'heard' | 'answers' | 'rest' | 'end'>

const CANARY_INTERVAL_MS = 1500
const CANARY_TIMEOUT_MS = 2500
const MAX_BACKOFF_MS = 2000

/** Much cheaper than `queueMicrotask`, which creates an async resource for each call. */
const SOON = Promise.resolve()

const SESSION_ENDED = 'the LISTEN session ended'

/**
 * Supervised LISTEN. Every few seconds a canary, a NOTIFY sent as writers send theirs, must come back here: a half-open or
 * stopped session gives no other sign. If it is late, or the session ends, a new session takes over, and the listener gets
 * `onGap` when LISTEN is in force again.
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
  /** Since when no message has arrived, and what was logged: an outage of a night takes two lines, not one per attempt. */
  #outage: { readonly since: number; refusalTold: boolean } | undefined
  /** Why the last canary did not come back. */
  #problem = ''
  /** Whether the last canary could not be sent, which is no failure of the LISTEN session. */
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

  /** Nothing to do: LISTEN receives the notifications for all users. */
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
   * If no canary can be sent (Postgres accepts no more connections, or a synchronous standby is gone), a session that still
   * answers is kept: it receives what others write, and a new one might not get a connection.
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

  /** Sends a canary. @returns whether it came back in time */
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
      // The session listens in another history than the one that is written: the log was re-created.
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
        await pause(backoffMs * (0.5 + Math.random() / 2), this.#closing.signal)
      }
    }
  }

  async #connect(): Promise<void> {
    const session = await this.#options.openSession({
      connection: this.#options.connection,
      connectTimeoutMs: this.#options.canaryTimeoutMs,
      onPayload: (payload) => this.#take(payload),
      onChunk: this.#read,
      onClosed: () => this.#sessionClosed(),
    })
    if (this.#closing.signal.aborted) {
      session.end()
      return
    }
    this.#session = session
    this.#options.listener.onGap(session.heard.epoch)
  }

  /** Payloads of one chunk are read together, so that a user's events among them leave in one write. */
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
    if (payloads.length === 0) return
    this.#payloads = []
    // Messages that come while a session opens are before its gap, so the heads that are read then include them.
    const session = this.#session
    if (session === undefined) return
    try {
      const unwanted = readPayloads(session.heard.epoch, payloads, this.#options.listener)
      if (this.#pace.read(unwanted)) session.rest(REST_MS)
    } catch (error) {
      // The driver would swallow the exception. The sweep delivers these events from the log.
      this.#options.log.error({ err: error }, 'a bus message could not be read')
    }
  }
}
