import type { BusListener } from './bus.ts'
import type { Link } from './nats-link.ts'
import type { Subjects } from './subjects.ts'

/** The longest wait of a new connection until its user is followed. */
const FOLLOW_TIMEOUT_MS = 1000
/** The delay after which the heads of newly followed users are read once more, and the time over which users are collected for it. */
const DOUBT_MS = 1000
const DOUBT_SPAN_MS = 250

const SOON = Promise.resolve()

interface Followed {
  readonly end: () => void
  /** Undefined once it is confirmed. */
  confirmed: Promise<void> | undefined
}

export interface FollowedUsersOptions {
  readonly link: Link
  readonly subjects: Subjects
  readonly listener: Pick<BusListener, 'onDoubt'>
  readonly now: () => number
  /** Called with each message for one of them. */
  readonly hear: (text: string) => void
  /** Called with the time that following a user took. */
  readonly onFollowed?: ((milliseconds: number) => void) | undefined
}

/** The subscriptions to the subjects of this instance's own users. */
export class FollowedUsers {
  readonly #options: FollowedUsersOptions
  readonly #users = new Map<string, Followed>()
  readonly #timers = new Set<NodeJS.Timeout>()
  #round: Promise<boolean> | undefined
  #doubted: { readonly openedAt: number; readonly users: string[] } | undefined

  constructor(options: FollowedUsersOptions) {
    this.#options = options
  }

  /** As Bus.follow. */
  follow(user: string): Promise<void> | undefined {
    const { link, subjects, onFollowed, now, hear } = this.#options
    const known = this.#users.get(user)
    if (known !== undefined) return known.confirmed
    const followed: Followed = { end: link.subscribe(subjects.user(user), hear), confirmed: undefined }
    this.#users.set(user, followed)
    // A NATS cluster spreads a new subscription to its servers without a confirmation.
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
    this.#users.get(user)?.end()
    this.#users.delete(user)
  }

  /** All subscriptions are in force again, on a new connection. */
  doubtAll(): void {
    for (const user of this.#users.keys()) this.#doubt(user)
  }

  close(): void {
    for (const { end } of this.#users.values()) end()
    this.#users.clear()
    for (const timer of this.#timers) clearTimeout(timer)
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
}
