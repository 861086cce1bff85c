import { setTimeout as sleep } from 'node:timers/promises'
import { signToken } from '../../support/token.ts'
import { Client, type Urls } from './client.ts'
import { Texts } from './journal.ts'
import type { Operation } from './operations.ts'
import { TRANSPORTS } from './transports.ts'

/** How clients differ from the others of their crowd. */
export interface Traits {
  /** Of their tokens, in seconds. */
  readonly expiresIn?: number
  readonly urls?: Urls
  readonly silenceMs?: number
}

/** The clients of a scenario: who they are, whether they are live, and how far they have come. */
export class Crowd {
  readonly clients: Client[] = []
  readonly texts = new Texts()
  readonly #urls: Urls

  constructor(urls: Urls) {
    this.#urls = urls
  }

  /** Adds clients, going round the authors, and connects them; they are live some time later. */
  async add(
    transport: keyof typeof TRANSPORTS,
    count: number,
    authors: readonly string[],
    { expiresIn, urls = this.#urls, silenceMs }: Traits = {},
  ): Promise<Client[]> {
    const added: Client[] = []
    for (let i = 0; i < count; i++) {
      const author = authors[i % authors.length] ?? ''
      const client = new Client({
        name: `${transport} ${i} of ${author}`,
        author,
        transport,
        token: await signToken(author, expiresIn === undefined ? {} : { expiresIn }),
        connect: TRANSPORTS[transport],
        urls,
        texts: this.texts,
        ...(silenceMs === undefined ? {} : { silenceMs }),
      })
      this.clients.push(client)
      added.push(client)
      client.start()
    }
    return added
  }

  get live(): number {
    return this.clients.filter(({ live }) => live).length
  }

  /** How many streams (not polls) have ended so far, by themselves or by the other side. */
  get ends(): number {
    return this.clients
      .filter(({ transport }) => transport !== 'poll')
      .reduce((sum, { entries }) => sum + entries.filter(({ type }) => type === 'end').length, 0)
  }

  /** From acknowledgement to event, ms, of the streams' events whose operation was acknowledged after `since`. */
  lags(operations: readonly Operation[], since: number, clients: readonly Client[] = this.clients): number[] {
    const lags: number[] = []
    for (const { entries, transport } of clients) {
      if (transport === 'poll') continue
      for (const entry of entries) {
        if (entry.type !== 'event' || entry.operation === undefined) continue
        const { ackedAt = -1 } = operations[entry.operation] ?? {}
        if (ackedAt >= since) lags.push(entry.at - ackedAt)
      }
    }
    return lags
  }

  /** When the streams (not polls) were opened that began after `since`, in order. */
  opensSince(since: number): number[] {
    return this.clients
      .filter(({ transport }) => transport !== 'poll')
      .flatMap(({ entries }) => entries)
      .filter(({ type, at }) => type === 'open' && at >= since)
      .map(({ at }) => at)
      .sort((a, b) => a - b)
  }

  /** Waits until all clients are live. Whether they all were in time. */
  untilLive(timeoutMs: number): Promise<boolean> {
    return until(timeoutMs, () => this.clients.every(({ live }) => live))
  }

  /** Waits until every live client has come as far as its author's stream in `heads`. Whether all were in time. */
  untilReached(epoch: string, heads: ReadonlyMap<string, number>, timeoutMs: number): Promise<boolean> {
    return until(timeoutMs, () =>
      this.clients.every(
        ({ live, author, place }) => live && place.epoch === epoch && place.seq >= (heads.get(author) ?? 0),
      ),
    )
  }

  stop(): void {
    for (const client of this.clients) client.stop()
  }
}

/** Asks again and again; whether the answer was yes before the time was over. */
export async function until(
  timeoutMs: number,
  condition: () => boolean | Promise<boolean>,
  intervalMs = 10,
): Promise<boolean> {
  for (const deadline = performance.now() + timeoutMs; ; await sleep(intervalMs)) {
    if (await condition()) return true
    if (performance.now() > deadline) return false
  }
}
