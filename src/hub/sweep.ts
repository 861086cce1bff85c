import type { Logger } from '../observability/log.ts'
import type { Log, Subscriber } from './subscriber.ts'

/** How many heads one statement asks for. */
const CHUNK = 2000

/** Compares every connected user's head in the log with what was delivered, and so finds lost notifications. */
export class Sweep {
  readonly #subscribers: () => Iterable<Subscriber>
  readonly #eventLog: Log
  readonly #log: Logger
  #running = false
  #wanted = false

  constructor(subscribers: () => Iterable<Subscriber>, eventLog: Log, log: Logger) {
    this.#subscribers = subscribers
    this.#eventLog = eventLog
    this.#log = log
  }

  /** Never rejects: where the log can't be read, the next sweep makes up for it. */
  async run(): Promise<void> {
    // A sweep under way may have read its heads before the reason for this one arose: it is followed by another.
    this.#wanted = true
    if (this.#running) return
    this.#running = true
    try {
      while (this.#wanted) {
        this.#wanted = false
        await this.only([...this.#subscribers()])
      }
    } finally {
      this.#running = false
    }
  }

  /** Compares the heads of a few. Never rejects. */
  async only(subscribers: readonly Subscriber[]): Promise<void> {
    try {
      await this.#compare(subscribers)
    } catch (error) {
      this.#log.debug({ err: error }, 'the sweep failed; the next one makes up for it')
    }
  }

  async #compare(subscribers: readonly Subscriber[]): Promise<void> {
    for (let i = 0; i < subscribers.length; i += CHUNK) {
      const chunk = subscribers.slice(i, i + CHUNK)
      const before = chunk.map((subscriber) => subscriber.standings())
      const heads = await this.#eventLog.heads(chunk.map((subscriber) => subscriber.user))
      chunk.forEach((subscriber, nth) => {
        const head = heads[nth]
        if (head !== undefined) subscriber.compare(head, before[nth] ?? new Map())
      })
    }
  }
}
