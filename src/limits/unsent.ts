import { Quota } from './quota.ts'

/** An answer, or what is left of it, that its peer has not taken. */
export interface UnsentAnswer {
  readonly bytes: number
  readonly network: string
  /** Undefined where nobody was authenticated. */
  readonly user: string | undefined
  /** Gives the answer up, and with it its connection. */
  readonly drop: () => void
}

export interface UnsentLimits {
  readonly total: number
  readonly perUser: number
  readonly perAddress: number
}

/**
 * Bytes of answers that wait in our memory because their peers don't read: in all, of each user and of each address. An
 * answer that the kernel takes at once, as nearly all are, never comes here.
 */
export class UnsentAnswers {
  readonly #limits: UnsentLimits
  readonly #users: Quota
  readonly #networks: Quota
  /** The oldest, hence the slowest to be taken, first. */
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

  /** Whose share an answer of this size would exceed, if nothing of it were taken at once. */
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
