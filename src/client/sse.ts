import { type Open, refusalOf, requestInit } from './attempt.ts'
import { countOpen } from './six.ts'
import { SseParser } from './sse-parser.ts'

/**
 * Server-Sent Events over fetch. Unlike EventSource it is there in Node, sends the token in a header rather than in the
 * URL, sees the heartbeats, and learns why it was refused. Where the reader is slow, so is the reading: the service
 * notices, and catches it up from the log.
 */
export function openSse(fetch: typeof globalThis.fetch): Open {
  return async function* (attempt) {
    const url = new URL('events', attempt.base)
    if (attempt.after !== undefined) url.searchParams.set('last_event_id', attempt.after)
    const response = await fetch(url, requestInit(attempt, 'text/event-stream'))
    if (!response.ok || !response.headers.get('content-type')?.startsWith('text/event-stream'))
      throw await refusalOf(response)
    countOpen(attempt.base, attempt.signal)
    const reader = response.body?.getReader()
    if (reader === undefined) return
    const decoder = new TextDecoder()
    const parser = new SseParser()
    try {
      for (;;) {
        const { done, value } = await reader.read()
        if (done) return
        attempt.alive()
        for (const data of parser.push(decoder.decode(value, { stream: true }))) yield JSON.parse(data)
      }
    } finally {
      void reader.cancel().catch(() => {})
    }
  }
}
