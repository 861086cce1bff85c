import { type Attempt, ask, type Caller, JSON_TYPE, type Open } from './attempt.ts'
import { type Page, placeBefore } from './page.ts'

/** One page of the stream after a cursor. */
export async function readPage(caller: Caller, after: string | undefined, limit = 200): Promise<Page> {
  return (await ask(caller, 'events', JSON_TYPE, { limit: String(limit), after })).json()
}

/**
 * The stream by polling, for networks that let no open stream through.
 *
 * @param heartbeatMs how often a message must arrive, as the service says it of a stream
 */
export function openPoll(heartbeatMs: number, pause: (signal: AbortSignal) => Promise<void>): Open {
  return async function* (attempt: Attempt) {
    // The next request has the new token.
    attempt.renew = () => {}
    let after = attempt.after
    let known = ''
    for (;;) {
      const page = await readPage(attempt, after)
      attempt.alive()
      const { unread, read, reset } = page
      const cursor = placeBefore(page)
      const told = `${read} ${unread}`
      if (known === '')
        yield {
          type: 'stream.open',
          data: {
            cursor,
            oldest: reset?.oldest ?? 1,
            resumed: after !== undefined && reset === null,
            heartbeat_ms: heartbeatMs,
            unread,
            read,
          },
        }
      if (reset !== null) yield { type: 'stream.reset', data: { ...reset, cursor } }
      yield* page.events
      if (known !== '' && told !== known) yield { type: 'stream.read', data: { cursor: read, unread } }
      known = told
      after = page.cursor
      if (!page.has_more) await pause(attempt.signal)
    }
  }
}
