import { setTimeout as delay } from 'node:timers/promises'
import type { ResetReason } from '../../../src/event.ts'
import { call, type Reply } from '../api.ts'
import { type OpenOptions, Rejected, TestStream } from './stream.ts'

export interface Page {
  readonly events: { readonly id: string; readonly seq: number }[]
  readonly cursor: string
  readonly has_more: boolean
  readonly reset: null | { readonly reason: ResetReason; readonly oldest: number }
  readonly read: string
  readonly unread: number
}

export interface PollOptions extends OpenOptions {
  readonly limit?: number | string
}

/** One poll; every status resolves. */
export function poll({ url, token, lastEventId, limit, headers }: PollOptions): Promise<Reply<Page>> {
  const query = new URLSearchParams({
    ...(lastEventId === undefined ? {} : { after: lastEventId }),
    ...(limit === undefined ? {} : { limit: String(limit) }),
  })
  return call<Page>(url, `/events?${query}`, {
    ...(token === undefined ? {} : { token }),
    headers: { accept: 'application/json', ...headers },
  })
}

const PAUSE_MS = 20

/** Polls again and again, so that a poller can be tested as a stream; it has no `stream.open`. */
export class PollStream extends TestStream {
  #stopped = false

  /** A page's events as messages, each with the very text it had in the page; its reset, as the streams say it. */
  receivePage({ json, text }: Reply<Page>): void {
    if (json.reset !== null) {
      const data = { reason: json.reset.reason, cursor: json.cursor, oldest: json.reset.oldest }
      this.receive(JSON.stringify({ type: 'stream.reset', data }))
    }
    for (const raw of eventTexts(text)) this.receive(raw)
  }

  async run(options: PollOptions, from: string): Promise<void> {
    let after = from
    try {
      while (!this.#stopped) {
        const page = await poll({ ...options, lastEventId: after })
        if (this.#stopped || page.status !== 200) break
        this.receivePage(page)
        after = page.json.cursor
        if (!page.json.has_more) await delay(PAUSE_MS)
      }
    } finally {
      this.ended()
    }
  }

  override close(): void {
    this.#stopped = true
  }

  override cut(): void {
    this.#stopped = true
  }
}

/** Opened once the first page is there: an event made after that is one the loop must deliver. */
export async function openPoll(options: PollOptions): Promise<PollStream> {
  const first = await poll(options)
  if (first.status !== 200) throw new Rejected(first.status, first.headers, first.text)
  const stream = new PollStream()
  stream.receivePage(first)
  stream.run(options, first.json.cursor).catch(() => {}) // a lost instance; the stream has ended
  return stream
}

/** The texts of the objects in a page's `events` array, cut out of the page without being parsed and built again. */
export function eventTexts(page: string): string[] {
  const texts: string[] = []
  let depth = 0
  let start = 0
  const tokens = /"(?:[^"\\]|\\.)*"|[{}[\]]/g
  tokens.lastIndex = page.indexOf('"events":[') + '"events":['.length
  for (let token = tokens.exec(page); token !== null; token = tokens.exec(page)) {
    if (token[0] === '{' || token[0] === '[') {
      if (depth === 0) start = token.index
      depth += 1
    } else if (token[0] === '}' || token[0] === ']') {
      depth -= 1
      if (depth < 0) break
      if (depth === 0) texts.push(page.slice(start, tokens.lastIndex))
    }
  }
  return texts
}
