interface Waiting<Request, Response> {
  readonly request: Request
  readonly resolve: (response: Response) => void
  readonly reject: (error: unknown) => void
}

/** Keeps one bad request from failing the others: a batch that fails because of one request is halved until it is alone. */
interface Isolation<Request, Response> {
  readonly concernsOne: (error: unknown) => boolean
  /** Answers the request that fails alone too; if it rejects, the request does. */
  readonly answer: (request: Request, error: unknown) => Promise<Response>
}

/** Fewer requests than this do not start a second statement beside one in flight: they wait for the next. */
const FEW = 32

/**
 * Answers many small reads with few statements. Requests that arrive while a statement is in flight, or in the pause after
 * it, share the next one; only a crowd gets up to `concurrency` statements at a time. So ten thousand clients that connect
 * at once cost Postgres a few dozen statements.
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
   * @param options.isolation keeps one request from failing the others of its statement
   * @param options.pauseMs how long requests after a statement are collected for the next; a lone request never waits
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

  /** Requests that wait for a statement. */
  get waiting(): number {
    return this.#waiting.length
  }

  ask(request: Request): Promise<Response> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ request, resolve, reject })
      if (this.#inFlight >= this.#concurrency || (this.#inFlight > 0 && this.#waiting.length < FEW)) return
      this.#inFlight++
      // All requests of this turn of the event loop share the statement.
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
