import { Agent, request } from 'node:http'
import { signToken } from '../../support/token.ts'
import type { Urls } from './client.ts'
import { type Ledger, visitorOf } from './operations.ts'

/** Long enough that only a service that has forgotten the request is told off by it. */
const ANSWER_TIMEOUT_MS = 15_000
const MAX_IN_FLIGHT = 300
const TICK_MS = 20

interface Answer {
  readonly status: number
  readonly retryAfter: string | undefined
  readonly text: string
}

/** Posts views and reactions, at a steady rate whatever the answers, to all instances in turn. */
export class HttpWriter {
  /** How often each status was answered; 0: no answer (refused, cut). */
  readonly answers = new Map<number, number>()
  /** Answers no fault excuses: neither the success nor a 503 that says when to come back. */
  readonly violations: string[] = []
  readonly #urls: Urls
  readonly #stories: ReadonlyMap<string, string>
  readonly #authors: readonly string[]
  readonly #ledger: Ledger
  readonly #agent = new Agent({ keepAlive: true })
  readonly #inFlight = new Set<Promise<void>>()
  #timer: NodeJS.Timeout | undefined
  #sent = 0

  /** @param stories one by author */
  constructor(urls: Urls, stories: ReadonlyMap<string, string>, ledger: Ledger) {
    this.#urls = urls
    this.#stories = stories
    this.#authors = [...stories.keys()]
    this.#ledger = ledger
  }

  /** Writes that did not succeed, whatever the reason. */
  get failures(): number {
    let failures = 0
    for (const [status, count] of this.answers) if (status !== 200) failures += count
    return failures
  }

  start(perSecond: number): void {
    const startedAt = performance.now()
    const sentBefore = this.#sent
    this.#timer = setInterval(() => {
      const due = sentBefore + ((performance.now() - startedAt) * perSecond) / 1000
      for (; this.#sent < due; this.#sent++) {
        // Where answers don't come, later requests are left out, not piled up.
        if (this.#inFlight.size < MAX_IN_FLIGHT) this.#send(this.#sent)
      }
    }, TICK_MS)
  }

  /** Sends so many more at once, so that each instance has a batch in flight a moment later. */
  burst(count: number): void {
    for (let nth = 0; nth < count; nth++) this.#send(nth)
  }

  /** Sends no more, and waits for the answers that are due. */
  async stop(): Promise<void> {
    clearInterval(this.#timer)
    await Promise.all(this.#inFlight)
  }

  close(): void {
    this.#agent.destroy()
  }

  /** One numbered write; never rejects. */
  async write(author: string, kind: 'view' | 'reaction'): Promise<void> {
    const operation = this.#ledger.begin(author)
    const token = await signToken(visitorOf(operation))
    const urls = this.#urls()
    const url = urls[operation.number % urls.length] ?? ''
    const path = `/stories/${this.#stories.get(author)}/${kind === 'view' ? 'view' : 'reactions'}`
    try {
      const answer = await this.#post(new URL(path, url), token, kind === 'view' ? '' : '{"emoji":"🎉"}')
      this.#count(answer.status)
      if (answer.status === 200) operation.ackedAt = performance.now()
      else if (answer.status !== 503 || answer.retryAfter === undefined)
        this.violations.push(`POST ${path} answered ${answer.status} ${answer.text}`)
    } catch (error) {
      this.#count(0)
      if ((error as Error).message === NO_ANSWER) this.violations.push(`POST ${path} to ${url}: ${NO_ANSWER}`)
    }
  }

  #send(nth: number): void {
    const author = this.#authors[nth % this.#authors.length] ?? ''
    const write: Promise<void> = this.write(author, nth % 3 === 0 ? 'reaction' : 'view').finally(() =>
      this.#inFlight.delete(write),
    )
    this.#inFlight.add(write)
  }

  #count(status: number): void {
    this.answers.set(status, (this.answers.get(status) ?? 0) + 1)
  }

  #post(url: URL, token: string, body: string): Promise<Answer> {
    const headers = {
      authorization: `Bearer ${token}`,
      'content-length': Buffer.byteLength(body),
      ...(body === '' ? {} : { 'content-type': 'application/json' }),
    }
    return new Promise((resolve, reject) => {
      const sent = request(url, { method: 'POST', agent: this.#agent, headers }, (response) => {
        let text = ''
        response
          .setEncoding('utf8')
          .on('data', (chunk: string) => {
            text += chunk
          })
          .on('error', reject)
          .on('end', () =>
            resolve({ status: response.statusCode ?? 0, retryAfter: response.headers['retry-after'], text }),
          )
      })
      const timer = setTimeout(() => sent.destroy(new Error(NO_ANSWER)), ANSWER_TIMEOUT_MS)
      sent.on('error', reject).on('close', () => clearTimeout(timer))
      sent.end(body)
    })
  }
}

const NO_ANSWER = `no answer in ${ANSWER_TIMEOUT_MS} ms`
