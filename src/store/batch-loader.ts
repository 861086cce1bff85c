import { setTimeout as sleep } from 'node:timers/promises'

interface Waiting<Request, Response> {
  readonly request: Request
  readonly resolve: (response: Response) => void
  readonly reject: (error: unknown) => void
}

/** So few don't make a second statement worth its while beside one in flight: they go into the next. */
const FEW = 32

/**
 * Answers many small reads with few statements: what is asked while a statement is in flight, or in the pause after it,
 * goes together into the next, and only a crowd is given up to `concurrency` statements at a time. Ten thousand clients
 * that connect at once thereby ask Postgres a few dozen times.
 */
export class BatchLoader<Request, Response> {
  readonly #read: (requests: readonly Request[]) => Promise<readonly Response[]>
  readonly #maxRequests: number
  readonly #concurrency: number
  readonly #pauseMs: number
  #waiting: Waiting<Request, Response>[] = []
  #inFlight = 0

  /**
   * @param read one response a request, in order
   * @param options.pauseMs after a statement, how long what is asked next waits for company; what is asked alone never waits
   */
  constructor(
    read: (requests: readonly Request[]) => Promise<readonly Response[]>,
    { maxRequests, concurrency, pauseMs = 0 }: { maxRequests: number; concurrency: number; pauseMs?: number },
  ) {
    this.#read = read
    this.#maxRequests = maxRequests
    this.#concurrency = concurrency
    this.#pauseMs = pauseMs
  }

  /** Requests that no statement has taken up yet. */
  get waiting(): number {
    return this.#waiting.length
  }

  ask(request: Request): Promise<Response> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ request, resolve, reject })
      if (this.#inFlight >= this.#concurrency || (this.#inFlight > 0 && this.#waiting.length < FEW)) return
      this.#inFlight++
      // Everybody who asks in this turn of the event loop rides along.
      setImmediate(() => void this.#loop())
    })
  }

  async #loop(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, this.#maxRequests)
      try {
        const responses = await this.#read(batch.map(({ request }) => request))
        batch.forEach(({ resolve, reject }, i) => {
          const response = responses[i]
          if (response === undefined) reject(new Error('a read left a request unanswered'))
          else resolve(response)
        })
      } catch (error) {
        for (const { reject } of batch) reject(error)
      }
      if (this.#pauseMs > 0) await sleep(this.#pauseMs)
    }
    this.#inFlight--
  }
}
