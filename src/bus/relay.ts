import { pause } from '../limits/pause.ts'
import { withTimeout } from '../limits/with-timeout.ts'
import type { Logger } from '../observability/log.ts'
import type { ConnectionOptions } from '../postgres/connection-url.ts'
import { type ListenOptions, ListenSession } from '../postgres/listen-session.ts'
import { QUEUED } from './control.ts'
import { seal } from './envelope.ts'
import type { Link } from './nats-link.ts'
import { NoStandby, RelayLock, SILENCE_MS } from './relay-lock.ts'
import { Routing } from './routing.ts'
import type { Subjects } from './subjects.ts'

export interface RelayOptions {
  /** A direct connection, as for LISTEN. */
  readonly connection: ConnectionOptions
  readonly link: Link
  readonly subjects: Subjects
  /** Relays of one database and one namespace exclude each other. */
  readonly namespace: string
  /** The name of this relay in its own probes. */
  readonly name: string
  readonly log: Logger
  /** The pause of reading after each publish, so that messages are published together while many come. */
  readonly lingerMs: number
  /** Called when it becomes the relay, and when it is no longer. */
  readonly onRelaying?: (relaying: boolean) => void
  /** Called for each time it published what had gathered. */
  readonly onPublished?: (published: Published) => void
  readonly now?: () => number
  readonly openSession?: (options: ListenOptions) => Promise<RelaySession>
}

/** What a relay published at once. */
export interface Published {
  /** Notifications of Postgres; one may be for several users, and thus several messages. */
  readonly notifications: number
  readonly messages: number
  readonly bytes: number
}

type RelaySession = Pick<ListenSession, 'heard' | 'notify' | 'rest' | 'end'>

const RETRY_MS = 250
const BEAT_MS = 500
const PROOF_MS = 1000
const TIMEOUT_MS = 2500
const MAX_BACKOFF_MS = 2000

/** Begins the text of a beat, which ends with the epoch. That of a proof of rights is only the relay's name. */
export const BEAT_PREFIX = 'beat '
/** Beats for another database are reported after this time: during a failover, two relays may beat for a moment. */
const FOREIGN_MS = 10_000

/** So that a relay whose host is gone does not keep the lock: Postgres notices within five seconds. */
const SETTINGS: Readonly<Record<string, string>> = {
  tcp_user_timeout: '5000',
  tcp_keepalives_idle: '2',
  tcp_keepalives_interval: '1',
  tcp_keepalives_count: '3',
}

/**
 * Receives the notifications for all users and publishes them to NATS, each to the subject of its user. Only one relay of a
 * database works: it holds an advisory lock on the session that listens, so that it always loses both together.
 *
 * waiting for NATS → standby (asks for the lock) → relaying → (session lost, or a proof is late) → waiting for NATS …
 *
 * It has two separate probes: a notification that it must receive on its own session, and the link's round trip to NATS. While
 * both succeed it publishes a beat every half second.
 */
export class Relay {
  readonly #options: Required<Pick<RelayOptions, 'now' | 'openSession'>> & RelayOptions
  readonly #closing = new AbortController()
  readonly #lock: RelayLock
  #session: RelaySession | undefined
  #running: Promise<void> | undefined
  #relaying = false
  #payloads: string[] = []
  #proof = { payload: '', heard: () => {} }
  #interrupt = () => {}
  #mayPublish = () => {}
  #refused = false
  #waiting = false
  #outageTold = false
  /** Beats for another database. */
  #foreign = { since: 0, last: Number.NEGATIVE_INFINITY, told: false }
  #unlisten: (() => void)[] = []

  constructor(options: RelayOptions) {
    this.#options = {
      now: () => performance.now(),
      openSession: (session) => ListenSession.open(session),
      ...options,
    }
    this.#lock = new RelayLock({
      ...this.#options,
      onHeld: () => {
        this.#waiting = true
        this.#outageTold = false
      },
    })
  }

  /** Whether this relay is the working one. */
  get relaying(): boolean {
    return this.#relaying
  }

  /** Why this relay neither works nor could take over; undefined if it does or could. */
  get problem(): string | undefined {
    if (!this.#options.link.up) return 'no connection to NATS'
    if (this.#refused) return 'NATS lets this process publish nothing'
    return this.#relaying || this.#waiting ? undefined : 'no session with Postgres'
  }

  start(): void {
    const { link, subjects } = this.#options
    this.#unlisten = [
      link.subscribe(subjects.beat, (text) => {
        if (text.startsWith(BEAT_PREFIX)) this.#hearBeat(text.slice(BEAT_PREFIX.length))
        else if (text === this.#options.name) this.#mayPublish()
      }),
      link.listen({
        onUp: () => {
          this.#lock.heardBeat()
          // Nothing was published while the link was down.
          if (this.#relaying) this.#publishGap()
        },
      }),
    ]
    this.#running = this.#run()
  }

  /** Releases the lock at once. */
  async close(): Promise<void> {
    this.#closing.abort()
    for (const end of this.#unlisten) end()
    this.#session?.end()
    this.#interrupt()
    await this.#running
  }

  async #run(): Promise<void> {
    const { log } = this.#options
    const { signal } = this.#closing
    let backoffMs = RETRY_MS
    while (!signal.aborted) {
      try {
        await this.#term()
        backoffMs = RETRY_MS
      } catch (error) {
        const { link } = this.#options
        log.debug({ err: error }, 'the relay could not listen')
        if (!(error instanceof NoStandby) && !signal.aborted && !this.#outageTold) {
          this.#outageTold = true
          log.warn({ reason: (error as Error).message }, 'the relay cannot listen to Postgres; trying again')
        }
        backoffMs = link.up ? Math.min(backoffMs * 2, MAX_BACKOFF_MS) : RETRY_MS
      }
      this.#setRelaying(false)
      this.#waiting = false
      await pause(backoffMs * (0.5 + Math.random() / 2), this.#closing.signal)
    }
  }

  /** From asking for the lock to losing it. */
  async #term(): Promise<void> {
    if (!this.#options.link.up || !(await this.#provesRights())) return
    let lost = false
    const session = await this.#options.openSession({
      connection: this.#options.connection,
      connectTimeoutMs: TIMEOUT_MS,
      settings: SETTINGS,
      admit: async (sql) => {
        await this.#lock.take(sql, this.#closing.signal)
        this.#outageTold = false
      },
      onPayload: (payload) => this.#take(payload),
      onClosed: () => {
        lost = true
        this.#interrupt()
      },
    })
    this.#session = session
    try {
      // Where NATS went away meanwhile, another relay may reach it.
      if (lost || !this.#options.link.up || this.#closing.signal.aborted) return
      this.#setRelaying(true)
      this.#publishGap()
      const problem = await this.#relayUntil(() => lost, session)
      if (problem !== undefined)
        this.#options.log.warn({ reason: problem }, 'the relay gives up its LISTEN session')
    } finally {
      session.end()
      this.#session = undefined
      this.#payloads = []
    }
  }

  /** Whether messages of this relay arrive: a relay that may not publish must not hold the lock. */
  async #provesRights(): Promise<boolean> {
    const { link, subjects, name, log } = this.#options
    const heard = new Promise<true>((resolve) => {
      this.#mayPublish = () => resolve(true)
    })
    link.publish(subjects.beat, name)
    if ((await Promise.race([heard, pause(TIMEOUT_MS, this.#closing.signal)])) === true) {
      this.#refused = false
      return true
    }
    if (!this.#closing.signal.aborted && link.up && !this.#refused) {
      this.#refused = true
      log.error(
        'NATS lets this process publish nothing: BUS_RELAY=on needs the rights of a relay (deploy/nats.conf); or set BUS_RELAY=off',
      )
    }
    return false
  }

  /** @returns the problem of the session; undefined if the relay closes */
  async #relayUntil(lost: () => boolean, session: RelaySession): Promise<string | undefined> {
    const { link, subjects, now } = this.#options
    const { signal } = this.#closing
    let provenAt = now()
    const beating = setInterval(() => {
      // A relay that receives nothing on its own session must stop its beat, so that another takes over.
      if (now() - provenAt < TIMEOUT_MS) link.publish(subjects.beat, BEAT_PREFIX + session.heard.epoch)
    }, BEAT_MS)
    try {
      for (;;) {
        const problem = await Promise.race([this.#interrupted(), this.#prove(session)])
        if (signal.aborted) return undefined
        if (lost()) return 'Postgres ended it'
        if (problem !== undefined) return problem
        provenAt = now()
        await Promise.race([this.#interrupted(), pause(PROOF_MS, signal)])
        if (signal.aborted) return undefined
        if (lost()) return 'Postgres ended it'
      }
    } finally {
      clearInterval(beating)
    }
  }

  /** Anew for each wait: one that lasted as long as the session would keep something of each wait for it. */
  #interrupted(): Promise<undefined> {
    return new Promise((resolve) => {
      this.#interrupt = () => resolve(undefined)
    })
  }

  /** @returns the problem of the session, if any */
  async #prove(session: RelaySession): Promise<string | undefined> {
    const payload = `\trelay\t${this.#options.name}\t${this.#options.now()}`
    const heard = new Promise<void>((resolve) => {
      this.#proof = { payload, heard: resolve }
    })
    const written = await session.notify(payload, TIMEOUT_MS)
    if (written === undefined) return 'Postgres does not answer'
    if (written.epoch !== session.heard.epoch || written.channel !== session.heard.channel)
      return 'the database has another history'
    return withTimeout(TIMEOUT_MS, heard, () => new Error()).then(
      () => undefined,
      () => 'its own notification did not come back',
    )
  }

  /** A beat names the history that its relay works for: two databases of one namespace would hear each other's events. */
  #hearBeat(epoch: string): void {
    const { now, log } = this.#options
    this.#lock.heardBeat()
    const own = this.#session?.heard.epoch
    if (!this.#relaying || own === undefined || epoch === own) return
    if (now() - this.#foreign.last > SILENCE_MS) this.#foreign.since = now()
    this.#foreign.last = now()
    if (this.#foreign.told || now() - this.#foreign.since < FOREIGN_MS) return
    this.#foreign.told = true
    log.error('another database has a relay in this namespace: give each database its own BUS_NAMESPACE')
  }

  #take(payload: string): void {
    if (payload === this.#proof.payload) {
      this.#proof.heard()
      return
    }
    if (payload.startsWith('\trelay\t')) return
    if (this.#payloads.push(payload) > 1) return
    // In the loop's next phase: what the kernel holds by now is read before it, and goes together.
    setImmediate(this.#flush)
  }

  readonly #flush = (): void => {
    const session = this.#session
    const payloads = this.#payloads
    this.#payloads = []
    // What comes while a session opens is before its gap, and so in the heads that are read because of it.
    if (session === undefined) return
    this.#publish(session.heard.epoch, payloads)
    if (this.#options.lingerMs > 0) session.rest(this.#options.lingerMs)
  }

  #publish(epoch: string, payloads: readonly string[]): void {
    const { link, subjects, log, onPublished } = this.#options
    if (!link.up) return
    const routing = new Routing()
    let messages = 0
    let bytes = 0
    const send = (subject: string, own: readonly string[]) => {
      for (const text of seal({ epoch, payloads: own })) {
        link.publish(subject, text)
        messages++
        bytes += Buffer.byteLength(text)
      }
    }
    try {
      for (const payload of payloads) routing.add(payload)
      if (routing.queued) send(subjects.queue, [QUEUED])
      for (const [user, own] of routing.users) send(subjects.user(user), own)
      for (const [instance, own] of routing.instances) send(subjects.instance(instance), own)
    } catch (error) {
      // Nobody may end the relay by what is notified; the log has the events, and the sweep delivers them.
      log.error({ err: error }, 'a notification could not be relayed')
    }
    onPublished?.({ notifications: payloads.length, messages, bytes })
  }

  #publishGap(): void {
    const epoch = this.#session?.heard.epoch
    if (epoch !== undefined) this.#options.link.publish(this.#options.subjects.gap, epoch)
  }

  #setRelaying(relaying: boolean): void {
    if (relaying === this.#relaying) return
    this.#relaying = relaying
    this.#options.log.info(relaying ? 'relaying from Postgres to NATS' : 'no longer relaying')
    this.#options.onRelaying?.(relaying)
  }
}
