import { Quota } from './quota.ts'

/** An answer, or the rest of one, that its client has not read yet. */
export interface UnsentAnswer {
  readonly bytes: number
  readonly network: string
  /** Undefined if the request was not authenticated. */
  readonly user: string | undefined
  /** Drops the answer and its connection. */
  readonly drop: () => void
}

export interface UnsentLimits {
  readonly total: number
  readonly perUser: number
  readonly perAddress: number
}

/**
 * Bytes of answers that wait in memory because their clients do not read: in all, per user and per address. Answers that
 * the kernel takes at once, as nearly all are, are not counted.
 */
export class UnsentAnswers {
  readonly #limits: UnsentLimits
  readonly #users: Quota
  readonly #networks: Quota
  /** The oldest first. */
  readonly #held = new Set<UnsentAnswer>()
  #bytes = 0

  constructor(limits: UnsentLimits) {
    this.#limits = limits
    this.#users = new Quota(limits.perUser)
    this.#networks = new Quota(limits.perAddress)
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Whose share an answer of this size would exceed if the kernel took none of it at once. */
  exceeded(bytes: number, network: string, user: string | undefined): 'user' | 'address' | undefined {
    if (user !== undefined && !this.#users.has(user, bytes)) return 'user'
    return this.#networks.has(network, bytes) ? undefined : 'address'
  }

  /** Counts an answer until it is released. Past the total the oldest answers are dropped. */
  hold(answer: UnsentAnswer): void {
    this.#held.add(answer)
    this.#bytes += answer.bytes
    this.#networks.add(answer.network, answer.bytes)
    if (answer.user !== undefined) this.#users.add(answer.user, answer.bytes)
    for (const oldest of this.#held) {
      if (this.#bytes <= this.#limits.total) return
      this.release(oldest)
      oldest.drop()
    }
  }

  release(answer: UnsentAnswer): void {
    if (!this.#held.delete(answer)) return
    this.#bytes -= answer.bytes
    this.#networks.release(answer.network, answer.bytes)
    if (answer.user !== undefined) this.#users.release(answer.user, answer.bytes)
  }
}
