import type { IncomingMessage } from 'node:http'
import type { Config } from '../config.ts'
import { GlimpseError } from '../errors.ts'
import type { Logger } from '../observability/log.ts'
import type { Metrics } from '../observability/metrics.ts'
import { clientNetwork } from './address.ts'
import { RateLimit } from './rate-limit.ts'

type Limit = keyof NonNullable<Config['rates']>

const DETAILS: Readonly<Record<Limit, string>> = {
  user_requests: 'This user sends too many requests.',
  address_requests: 'Too many requests come from this address.',
  user_connects: 'This user opens too many connections in too short a time.',
  address_connects: 'This address opens too many connections in too short a time.',
  user_stories: 'This user has posted too many stories within a day.',
  reaction_changes: 'This user has changed the reaction to this story too often within a day.',
}

const DAILY: ReadonlySet<string> = new Set<Limit>(['user_stories', 'reaction_changes'])

/** The rate limits of users and addresses for requests, connects, stories and reactions; `RATE_LIMIT=off` disables all. */
export class Limits {
  readonly #trustProxy: number
  readonly #metrics: Metrics
  readonly #log: Logger
  #warned = false
  readonly #rates: ReadonlyMap<Limit, RateLimit>

  constructor(config: Config, metrics: Metrics, log: Logger, now = () => performance.now()) {
    this.#trustProxy = config.trustProxy
    this.#metrics = metrics
    this.#log = log
    const rates = Object.entries(config.rates ?? {}) as [Limit, number][]
    this.#rates = new Map(
      rates.map(([limit, most]) => [
        limit,
        new RateLimit({ most, per: DAILY.has(limit) ? 'day' : 'minute', now }),
      ]),
    )
  }

  /** The network that limits count the request against: an IPv4 address, or the /64 of an IPv6 address. */
  networkOf(request: IncomingMessage): string {
    if (this.#trustProxy === 0 && !this.#warned && request.headers['x-forwarded-for'] !== undefined) {
      this.#warned = true
      this.#log.warn('X-Forwarded-For received, but TRUST_PROXY is 0')
    }
    return clientNetwork(request, this.#trustProxy)
  }

  /**
   * Counts one attempt of a user or a network.
   *
   * @throws GlimpseError `too_many_requests` with the seconds after which the next one may come
   */
  count(limit: Limit, who: string): void {
    const waitMs = this.#rates.get(limit)?.take(who) ?? 0
    if (waitMs > 0) throw this.#refusal(limit, waitMs)
  }

  /**
   * Runs work and counts it, unless it fails or changed nothing.
   *
   * @param unchanged asked once the limit is reached: the result of work that would change nothing, which no limit refuses
   * @throws GlimpseError as `count` does, before the work is begun
   */
  async counted<Result>(
    limit: Limit,
    who: string,
    work: () => Promise<Result>,
    changed: (result: Result) => boolean = () => true,
    unchanged?: () => Promise<Result | undefined>,
  ): Promise<Result> {
    const waitMs = this.#rates.get(limit)?.take(who) ?? 0
    if (waitMs > 0) {
      const result = await unchanged?.()
      if (result === undefined) throw this.#refusal(limit, waitMs)
      return result
    }
    let counts = false
    try {
      const result = await work()
      counts = changed(result)
      return result
    } finally {
      if (!counts) this.#rates.get(limit)?.giveBack(who)
    }
  }

  #refusal(limit: Limit, waitMs: number): GlimpseError {
    this.#metrics.limited.inc({ limit })
    return new GlimpseError('too_many_requests', {
      detail: DETAILS[limit],
      retryAfter: Math.ceil(waitMs / 1000),
    })
  }
}
