interface Waiting<Request, Response> {
  readonly request: Request
  readonly resolve: (response: Response) => void
  readonly reject: (error: unknown) => void
}

/** How one request is kept from failing the others: a statement that fails for one's sake is halved until that one is alone. */
interface Isolation<Request, Response> {
  readonly concernsOne: (error: unknown) => boolean
  /** Answers the one that fails alone too; where it rejects, so is the request. */
  readonly answer: (request: Request, error: unknown) => Promise<Response>
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
  readonly #isolation: Isolation<Request, Response> | undefined
  #waiting: Waiting<Request, Response>[] = []
  #inFlight = 0

  /**
   * @param read one response a request, in order
   * @param options.isolation how one request is kept from failing the others of its statement
   * @param options.pauseMs after a statement, how long what is asked next waits for company; what is asked alone never waits
   */
  constructor(
    read: (requests: readonly Request[]) => Promise<readonly Response[]>,
    {
      maxRequests,
      concurrency,
      pauseMs = 0,
      isolation,
    }: {
      maxRequests: number
      concurrency: number
      pauseMs?: number
      isolation?: Isolation<Request, Response>
    },
  ) {
    this.#read = read
    this.#maxRequests = maxRequests
    this.#concurrency = concurrency
    this.#pauseMs = pauseMs
    this.#isolation = isolation
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
      await this.#answer(this.#waiting.splice(0, this.#maxRequests))
      if (this.#pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, this.#pauseMs))
    }
    this.#inFlight--
  }

  async #answer(batch: readonly Waiting<Request, Response>[]): Promise<void> {
    try {
      const responses = await this.#read(batch.map(({ request }) => request))
      batch.forEach(({ resolve, reject }, i) => {
        const response = responses[i]
        if (response === undefined) reject(new Error('a read left a request unanswered'))
        else resolve(response)
      })
    } catch (error) {
      const [first] = batch
      if (first === undefined || this.#isolation?.concernsOne(error) !== true) {
        for (const { reject } of batch) reject(error)
      } else if (batch.length > 1) {
        const middle = batch.length >> 1
        await this.#answer(batch.slice(0, middle))
        await this.#answer(batch.slice(middle))
      } else {
        await this.#isolation.answer(first.request, error).then(first.resolve, first.reject)
      }
    }
  }
}
