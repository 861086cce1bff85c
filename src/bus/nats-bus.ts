import { setTimeout as sleep } from 'node:timers/promises'
import type { Bus } from './bus.ts'
import { CALL_PREFIX } from './control.ts'
import { DatabaseClock } from './database-clock.ts'
import { type Envelope, unseal } from './envelope.ts'
import type { Link } from './nats-link.ts'
import { readPayloads } from './payload.ts'
import type { PostgresBusOptions } from './postgres-bus.ts'
import type { Subjects } from './subjects.ts'

export interface NatsBusOptions
  extends Pick<PostgresBusOptions, 'listener' | 'notify' | 'log' | 'instance' | 'onRoundTrip' | 'onAlive'> {
  readonly link: Link
  readonly subjects: Subjects
  /** LISTEN, which takes over while NATS is away; made anew each time. */
  readonly openFallback: (clock: DatabaseClock) => Bus
  /** LISTEN is used from now on, or no longer. */
  readonly onFallback?: (active: boolean) => void
  /** How long it took until a user's events were heard. */
  readonly onFollowed?: (milliseconds: number) => void
  readonly now?: () => number
  /** From 0 to under 1. */
  readonly random?: () => number
  readonly canaryIntervalMs?: number
  readonly canaryTimeoutMs?: number
}

const CANARY_INTERVAL_MS = 1500
const CANARY_TIMEOUT_MS = 2500
/** A relay that is about to be elected when an instance starts has so long, asked this often. */
const START_ATTEMPTS = 8
const START_ATTEMPT_MS = 500
/** After the first late canary LISTEN takes over, spread over this: all instances would ask Postgres at once. */
const FALLBACK_SPREAD_MS = 2000
/** Canaries that come back before LISTEN is left. */
const GOOD_CANARIES = 3
/** How long a newcomer waits to be followed. */
const FOLLOW_TIMEOUT_MS = 1000
/** When the heads of those who were followed are read once more, and how many milliseconds of newcomers are read together. */
const DOUBT_MS = 1000
const DOUBT_SPAN_MS = 250

const SOON = Promise.resolve()

interface Followed {
  readonly end: () => void
  /** Undefined once it is confirmed. */
  confirmed: Promise<void> | undefined
}

/**
 * Hears of this instance's own users over NATS, where a relay publishes what it hears from Postgres (relay.ts).
 *
 * A canary, a NOTIFY over the writers' way that must come back through the relay and NATS, proves the whole way. One that is
 * late has LISTEN take over, which hears of everybody and costs more; the instance stays ready meanwhile. Once three came back
 * LISTEN is left again.
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
  readonly #followed = new Map<string, Followed>()
  readonly #unlisten: (() => void)[] = []
  #supervisor: Promise<void> | undefined
  #envelopes: Envelope[] = []
  #epoch = ''
  #canary = { payload: '', returned: (_epoch: string) => {} }
  /** The link came up, or the bus closes: what is waited for is to be asked for anew. */
  #wake = () => {}
  #late = 0
  #good = 0
  #sendable = true
  #begun = false
  #toldAlive = false
  #fallback: { readonly bus: Bus; ready: boolean } | undefined
  #fallbackTimer: NodeJS.Timeout | undefined
  #round: Promise<boolean> | undefined
  #doubted: { readonly openedAt: number; readonly users: string[] } | undefined
  readonly #timers = new Set<NodeJS.Timeout>()

  constructor(options: NatsBusOptions) {
    this.#options = {
      now: () => performance.now(),
      random: Math.random,
      canaryIntervalMs: CANARY_INTERVAL_MS,
      canaryTimeoutMs: CANARY_TIMEOUT_MS,
      ...options,
    }
    this.clock = new DatabaseClock(this.#options.now)
  }

  get alive(): boolean {
    if (this.#closing.signal.aborted) return false
    const { bus, ready = false } = this.#fallback ?? {}
    return this.#begun && ((this.#sendable && this.#late < 2) || (ready && bus?.alive === true))
  }

  /** The link is started before. Where no message makes its way through NATS, LISTEN is started in its stead. */
  async start(): Promise<void> {
    const { link, subjects, instance, log } = this.#options
    this.#unlisten.push(
      link.subscribe(subjects.instance(instance), (text) => this.#hear(text)),
      link.subscribe(subjects.gap, (epoch) => this.#gap(epoch)),
      link.subscribe(subjects.queue, () => this.#options.listener.onQueued()),
      link.listen({ onUp: () => this.#onUp() }),
    )
    for (let attempt = 0; attempt < START_ATTEMPTS && link.up; attempt++) {
      if (await this.#probe(START_ATTEMPT_MS)) break
      if (this.#closing.signal.aborted) return
    }
    if (this.#good === 0) {
      log.warn('no message makes the way through the relay and NATS; listening to Postgres meanwhile')
      this.#late = 2
      await this.#startFallback()
    }
    this.#begun = true
    this.#tellAlive()
    this.#supervisor = this.#supervise()
  }

  follow(user: string): Promise<void> | undefined {
    const { link, subjects, onFollowed, now } = this.#options
    const known = this.#followed.get(user)
    if (known !== undefined) return known.confirmed
    const end = link.subscribe(subjects.user(user), (text) => this.#hear(text))
    const followed: Followed = { end, confirmed: undefined }
    this.#followed.set(user, followed)
    // A cluster tells its other servers of a new subscription when it gets to it, and confirms it to nobody.
    this.#doubt(user)
    // Once the link is up again all heads are read.
    if (!link.up) return undefined
    const since = now()
    followed.confirmed = this.#nextRound().then((confirmed) => {
      followed.confirmed = undefined
      if (confirmed) onFollowed?.(now() - since)
    })
    return followed.confirmed
  }

  unfollow(user: string): void {
    this.#followed.get(user)?.end()
    this.#followed.delete(user)
  }

  async close(): Promise<void> {
    this.#closing.abort()
    for (const end of this.#unlisten) end()
    for (const { end } of this.#followed.values()) end()
    this.#followed.clear()
    for (const timer of this.#timers) clearTimeout(timer)
    clearTimeout(this.#fallbackTimer)
    this.#wake()
    await Promise.all([this.#fallback?.bus.close(), this.#supervisor])
  }

  async #supervise(): Promise<void> {
    const { canaryIntervalMs, canaryTimeoutMs } = this.#options
    while (!this.#closing.signal.aborted) {
      // After a late one soon: a relay that has just been replaced must not have all instances listen.
      await this.#pause(this.#late === 1 ? canaryIntervalMs / 3 : canaryIntervalMs)
      if (this.#closing.signal.aborted) return
      await this.#probe(canaryTimeoutMs)
      this.#tellAlive()
    }
  }

  /** Sends a canary and waits so long for it; anew where the link comes up meanwhile, since what was sent before is lost. */
  async #probe(timeoutMs: number): Promise<boolean> {
    const { notify, now, onRoundTrip, log, instance } = this.#options
    const until = now() + timeoutMs
    for (;;) {
      const sentAt = now()
      // Told apart from that of LISTEN, which hears it too.
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
          // A relay that hears of another history than is written is about to find out.
          if ((await returned) !== epoch) return 'other'
          if (epoch !== this.#epoch) this.#gap(epoch)
          return 'came'
        },
        (error: Error) => {
          log.debug({ err: error }, 'the canary could not be sent')
          return 'unsent' as const
        },
      )
      const outcome = await Promise.race([came, woken, this.#sleep(Math.max(0, until - now()))])
      if (this.#closing.signal.aborted) return false
      if (outcome === 'woken') continue
      if (outcome === 'came') onRoundTrip?.(now() - sentAt)
      this.#judge(outcome)
      return outcome === 'came'
    }
  }

  #judge(outcome: 'came' | 'other' | 'unsent' | undefined): void {
    this.#sendable = outcome !== 'unsent'
    // That says nothing against NATS, and LISTEN would fare no better.
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
    this.#options.log.warn('the test message is late; listening to Postgres until NATS brings it again')
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
    this.#options.log.info('NATS brings messages again; no longer listening to Postgres')
    this.#options.onFallback?.(false)
    await fallback?.bus.close()
  }

  #tellAlive(): void {
    const { alive } = this
    if (alive === this.#toldAlive) return
    this.#toldAlive = alive
    this.#options.onAlive?.(alive)
  }

  /** All subscriptions are in force again on a new connection. */
  #onUp(): void {
    this.#wake()
    if (this.#epoch !== '') this.#options.listener.onGap(this.#epoch)
    for (const user of this.#followed.keys()) this.#doubt(user)
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

  /** One round trip serves all who were followed in this turn. */
  #nextRound(): Promise<boolean> {
    this.#round ??= SOON.then(() => {
      this.#round = undefined
      return this.#options.link.roundTrip(FOLLOW_TIMEOUT_MS)
    })
    return this.#round
  }

  #doubt(user: string): void {
    const now = this.#options.now()
    if (this.#doubted === undefined || now - this.#doubted.openedAt > DOUBT_SPAN_MS) {
      const doubted = { openedAt: now, users: [] as string[] }
      this.#doubted = doubted
      const timer = setTimeout(() => {
        this.#timers.delete(timer)
        this.#options.listener.onDoubt(doubted.users)
      }, DOUBT_MS + DOUBT_SPAN_MS).unref()
      this.#timers.add(timer)
    }
    this.#doubted.users.push(user)
  }

  async #pause(milliseconds: number): Promise<void> {
    const woken = new Promise<void>((resolve) => {
      this.#wake = resolve
    })
    await Promise.race([this.#sleep(milliseconds), woken])
  }

  async #sleep(milliseconds: number): Promise<undefined> {
    await sleep(milliseconds, undefined, { signal: this.#closing.signal, ref: false }).catch(() => {})
  }
}
