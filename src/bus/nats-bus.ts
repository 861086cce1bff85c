import { pause } from '../limits/pause.ts'
import type { Bus } from './bus.ts'
import { CALL_PREFIX } from './control.ts'
import { DatabaseClock } from './database-clock.ts'
import { type Envelope, unseal } from './envelope.ts'
import { FollowedUsers } from './followed-users.ts'
import type { Link } from './nats-link.ts'
import { readPayloads } from './payload.ts'
import type { PostgresBusOptions } from './postgres-bus.ts'
import type { Subjects } from './subjects.ts'

export interface NatsBusOptions
  extends Pick<PostgresBusOptions, 'listener' | 'notify' | 'log' | 'instance' | 'onRoundTrip' | 'onAlive'> {
  readonly link: Link
  readonly subjects: Subjects
  /** Makes the LISTEN bus that takes over while NATS is away. */
  readonly openFallback: (clock: DatabaseClock) => Bus
  /** Called when LISTEN takes over, and when it is no longer used. */
  readonly onFallback?: (active: boolean) => void
  /** Called with the time that following a user took. */
  readonly onFollowed?: (milliseconds: number) => void
  /** Called with the number of messages that were received together. */
  readonly onHeard?: (messages: number) => void
  readonly now?: () => number
  /** A random number, 0 to below 1. */
  readonly random?: () => number
  readonly canaryIntervalMs?: number
  readonly canaryTimeoutMs?: number
}

const CANARY_INTERVAL_MS = 1500
const CANARY_TIMEOUT_MS = 2500
/** At the start, how long to wait for a relay that is just being elected, and the interval of the checks. */
const START_ATTEMPTS = 8
const START_ATTEMPT_MS = 500
/** After the first late canary LISTEN takes over after a random time up to this, so that not all instances connect at once. */
const FALLBACK_SPREAD_MS = 2000
/** Good canaries in a row before NATS takes over again. */
const GOOD_CANARIES = 3
const SOON = Promise.resolve()

/**
 * Receives the notifications for this instance's own users over NATS, where a relay publishes those of Postgres (relay.ts).
 *
 * The canary is sent as writers send theirs and must come back through the relay and NATS, which proves the whole path. If one
 * is late, LISTEN takes over, which costs more because it receives everybody's notifications; the instance stays ready
 * meanwhile. After three good canaries NATS takes over again.
 *
 * NATS → (a late canary) → NATS, and LISTEN soon → (another) → LISTEN → (three good ones) → NATS
 */
export class NatsBus implements Bus {
  readonly clock: DatabaseClock
  readonly #options: Required<
    Pick<NatsBusOptions, 'now' | 'random' | 'canaryIntervalMs' | 'canaryTimeoutMs'>
  > &
    NatsBusOptions
  readonly #closing = new AbortController()
  readonly #followed: FollowedUsers
  readonly #unlisten: (() => void)[] = []
  #supervisor: Promise<void> | undefined
  #envelopes: Envelope[] = []
  #epoch = ''
  #canary = { payload: '', returned: (_epoch: string) => {} }
  /** Called when the link comes up or the bus closes: pending waits must be repeated. */
  #wake = () => {}
  #late = 0
  #good = 0
  #sendable = true
  #begun = false
  #toldAlive = false
  #fallback: { readonly bus: Bus; ready: boolean } | undefined
  #fallbackTimer: NodeJS.Timeout | undefined

  constructor(options: NatsBusOptions) {
    this.#options = {
      now: () => performance.now(),
      random: Math.random,
      canaryIntervalMs: CANARY_INTERVAL_MS,
      canaryTimeoutMs: CANARY_TIMEOUT_MS,
      ...options,
    }
    this.clock = new DatabaseClock(this.#options.now)
    this.#followed = new FollowedUsers({ ...this.#options, hear: (text) => this.#hear(text) })
  }

  get alive(): boolean {
    if (this.#closing.signal.aborted) return false
    const { bus, ready = false } = this.#fallback ?? {}
    return this.#begun && ((this.#sendable && this.#late < 2) || (ready && bus?.alive === true))
  }

  /** The link must have been started. If no canary comes back through NATS, it starts LISTEN instead. */
  async start(): Promise<void> {
    const { link, subjects, instance, log } = this.#options
    this.#unlisten.push(
      link.subscribe(subjects.instance(instance), (text) => this.#hear(text)),
      link.subscribe(subjects.gap, (epoch) => this.#hearGap(epoch)),
      link.subscribe(subjects.queue, (text) => {
        if (text !== '') this.#options.listener.onQueued()
      }),
      link.listen({ onUp: () => this.#onUp() }),
    )
    for (let attempt = 0; attempt < START_ATTEMPTS && link.up; attempt++) {
      if (await this.#probe(START_ATTEMPT_MS)) break
      if (this.#closing.signal.aborted) return
    }
    if (this.#good === 0) {
      log.warn('no message arrives through the relay and NATS; listening to Postgres meanwhile')
      this.#late = 2
      await this.#startFallback()
    }
    this.#begun = true
    this.#tellAlive()
    this.#supervisor = this.#supervise()
  }

  follow(user: string): Promise<void> | undefined {
    return this.#followed.follow(user)
  }

  unfollow(user: string): void {
    this.#followed.unfollow(user)
  }

  async close(): Promise<void> {
    this.#closing.abort()
    for (const end of this.#unlisten) end()
    this.#followed.close()
    clearTimeout(this.#fallbackTimer)
    this.#wake()
    await Promise.all([this.#fallback?.bus.close(), this.#supervisor])
  }

  async #supervise(): Promise<void> {
    const { canaryIntervalMs, canaryTimeoutMs } = this.#options
    while (!this.#closing.signal.aborted) {
      // Soon after a late one, so that a relay that has just been replaced does not make all instances listen.
      await this.#pause(this.#late === 1 ? canaryIntervalMs / 3 : canaryIntervalMs)
      if (this.#closing.signal.aborted) return
      await this.#probe(canaryTimeoutMs)
      this.#tellAlive()
    }
  }

  /** Sends a canary and waits for it. Sends it again if the link comes up meanwhile, because earlier messages are lost. */
  async #probe(timeoutMs: number): Promise<boolean> {
    const { notify, now, onRoundTrip, log, instance } = this.#options
    const until = now() + timeoutMs
    for (;;) {
      const sentAt = now()
      // Different from the canary of LISTEN, which is received too.
      const payload = `\t${instance}\tnats ${sentAt}`
      const returned = new Promise<string>((resolve) => {
        this.#canary = { payload, returned: resolve }
      })
      const woken = new Promise<'woken'>((resolve) => {
        this.#wake = () => resolve('woken')
      })
      const came = notify(payload).then(
        async ({ epoch, clockMs }) => {
          this.clock.read(clockMs, sentAt)
          // A relay that is in another history than the writers will soon notice.
          if ((await returned) !== epoch) return 'other'
          if (epoch !== this.#epoch) this.#gap(epoch)
          return 'came'
        },
        (error: Error) => {
          log.debug({ err: error }, 'the canary could not be sent')
          return 'unsent' as const
        },
      )
      const outcome = await Promise.race([
        came,
        woken,
        pause(Math.max(0, until - now()), this.#closing.signal, false),
      ])
      if (this.#closing.signal.aborted) return false
      if (outcome === 'woken') continue
      if (outcome === 'came') onRoundTrip?.(now() - sentAt)
      this.#judge(outcome)
      return outcome === 'came'
    }
  }

  #judge(outcome: 'came' | 'other' | 'unsent' | undefined): void {
    this.#sendable = outcome !== 'unsent'
    // The canary could not be sent: that is no failure of NATS, and LISTEN would not help.
    if (outcome === 'unsent') return
    if (outcome === 'came') {
      this.#late = 0
      this.#good++
      clearTimeout(this.#fallbackTimer)
      this.#fallbackTimer = undefined
      if (this.#fallback !== undefined && this.#good >= GOOD_CANARIES) void this.#endFallback()
      return
    }
    this.#good = 0
    this.#late++
    if (this.#supervisor === undefined || this.#fallback !== undefined || this.#fallbackTimer !== undefined)
      return
    this.#options.log.warn(
      'the test message is late; listening to Postgres until it arrives through NATS again',
    )
    this.#scheduleFallback()
  }

  #scheduleFallback(): void {
    this.#fallbackTimer = setTimeout(() => {
      this.#fallbackTimer = undefined
      this.#startFallback().catch((error: Error) => {
        this.#options.log.warn({ reason: error.message }, 'LISTEN could not take over; trying again')
        if (!this.#closing.signal.aborted && this.#late > 0) this.#scheduleFallback()
      })
    }, this.#options.random() * FALLBACK_SPREAD_MS)
  }

  async #startFallback(): Promise<void> {
    const fallback = { bus: this.#options.openFallback(this.clock), ready: false }
    this.#fallback = fallback
    try {
      await fallback.bus.start()
      if (this.#fallback !== fallback) return
      fallback.ready = true
      this.#options.onFallback?.(true)
      this.#tellAlive()
    } catch (error) {
      if (this.#fallback === fallback) this.#fallback = undefined
      throw error
    }
  }

  async #endFallback(): Promise<void> {
    const fallback = this.#fallback
    this.#fallback = undefined
    this.#options.log.info('messages arrive through NATS again; no longer listening to Postgres')
    this.#options.onFallback?.(false)
    await fallback?.bus.close()
  }

  #tellAlive(): void {
    const { alive } = this
    if (alive === this.#toldAlive) return
    this.#toldAlive = alive
    this.#options.onAlive?.(alive)
  }

  #onUp(): void {
    this.#wake()
    if (this.#epoch !== '') this.#options.listener.onGap(this.#epoch)
    this.#followed.doubtAll()
  }

  /**
   * Only the canary brings another history: a relay of another database, with the same BUS_NAMESPACE by mistake, would reset
   * all clients. An empty message is `glimpse doctor`, which tries whether it may publish.
   */
  #hearGap(epoch: string): void {
    if (epoch === this.#epoch) this.#gap(epoch)
    else if (epoch !== '') this.#wake()
  }

  #gap(epoch: string): void {
    this.#epoch = epoch
    this.#options.listener.onGap(epoch)
  }

  /** Messages that arrive in one chunk are read together: a user's events among them then leave in one write. */
  #hear(text: string): void {
    if (this.#envelopes.push(unseal(text)) === 1) void SOON.then(this.#read)
  }

  readonly #read = (): void => {
    const envelopes = this.#envelopes
    this.#envelopes = []
    this.#options.onHeard?.(envelopes.length)
    try {
      for (let i = 0; i < envelopes.length; ) {
        const { epoch } = envelopes[i] as Envelope
        const payloads: string[] = []
        for (; i < envelopes.length && envelopes[i]?.epoch === epoch; i++)
          for (const payload of (envelopes[i] as Envelope).payloads) {
            if (payload.charCodeAt(0) === 9) this.#called(epoch, payload)
            else payloads.push(payload)
          }
        if (payloads.length > 0) readPayloads(epoch, payloads, this.#options.listener)
      }
    } catch (error) {
      // The log still has the events, and the sweep delivers them.
      this.#options.log.error({ err: error }, 'a bus message could not be read')
    }
  }

  #called(epoch: string, payload: string): void {
    if (payload === CALL_PREFIX + this.#options.instance) this.#options.listener.onCall()
    else if (payload === this.#canary.payload) this.#canary.returned(epoch)
  }

  async #pause(milliseconds: number): Promise<void> {
    const woken = new Promise<void>((resolve) => {
      this.#wake = resolve
    })
    await Promise.race([pause(milliseconds, this.#closing.signal, false), woken])
  }
}
