import { type Attempt, ask } from './attempt.ts'
import { countOpen } from './six.ts'
import { SseParser } from './sse-parser.ts'
import type { Message } from './types.ts'

/**
 * Server-Sent Events over fetch. Unlike EventSource it exists in Node, sends the token in a header and not in the URL, sees
 * the heartbeats, and learns why it was refused. If the reader is slow, the response is read slowly; the service notices
 * and catches the reader up from the log.
 */
export async function* openSse(attempt: Attempt): AsyncGenerator<Message, void, void> {
  const { body } = await ask(attempt, 'events', 'text/event-stream', { last_event_id: attempt.after })
  countOpen(attempt.base, attempt.signal)
  const reader = body?.getReader()
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
