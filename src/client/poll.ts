import { type Attempt, type Open, refusalOf, requestInit } from './attempt.ts'
import { type Page, placeBefore } from './page.ts'

/** One page of the stream after a cursor. */
export async function readPage(
  fetch: typeof globalThis.fetch,
  attempt: Pick<Attempt, 'base' | 'token' | 'signal'>,
  after: string | undefined,
  limit: number,
): Promise<Page> {
  const url = new URL('events', attempt.base)
  url.searchParams.set('limit', String(limit))
  if (after !== undefined) url.searchParams.set('after', after)
  const response = await fetch(url, requestInit(attempt, 'application/json'))
  if (!response.ok || !response.headers.get('content-type')?.includes('json')) throw await refusalOf(response)
  return response.json()
}

/** The stream by asking again and again: for ways on which nothing that stays open gets through. */
export function openPoll(
  fetch: typeof globalThis.fetch,
  pause: (signal: AbortSignal) => Promise<void>,
): Open {
  return async function* (attempt) {
    attempt.renew = (token) => {
      attempt.token = token
    }
    let after = attempt.after
    let known = ''
    for (;;) {
      const page = await readPage(fetch, attempt, after, 200)
      attempt.alive()
      const { events, unread, read, reset } = page
      const cursor = placeBefore(page)
      if (known === '') {
        const oldest = reset?.oldest ?? 1
        yield {
          type: 'stream.open',
          data: {
            cursor,
            oldest,
            resumed: after !== undefined && reset === null,
            heartbeat_ms: 0,
            unread,
            read,
          },
        }
      }
      if (reset !== null) yield { type: 'stream.reset', data: { ...reset, cursor } }
      yield* events
      const told = `${read} ${unread}`
      if (known !== '' && told !== known) yield { type: 'stream.read', data: { cursor: read, unread } }
      known = told
      after = page.cursor
      if (!page.has_more) await pause(attempt.signal)
    }
  }
}
