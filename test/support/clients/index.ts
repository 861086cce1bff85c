import { onTestFinished } from 'vitest'
import { openCurl } from './curl.ts'
import { openDurable } from './durable.ts'
import { openEventSource } from './event-source.ts'
import { openPoll } from './poll.ts'
import { openSse } from './sse.ts'
import type { OpenOptions, TestStream } from './stream.ts'
import { openUndiciWebSocket } from './undici-websocket.ts'
import { openWebSocket } from './websocket.ts'

const OPENERS = {
  sse: openSse,
  ws: openWebSocket,
  poll: openPoll,
  'durable long-poll': (options: OpenOptions) => openDurable('long-poll', options),
  'durable sse': (options: OpenOptions) => openDurable('sse', options),
  curl: openCurl,
  'undici EventSource': (options: OpenOptions) => openEventSource('undici EventSource', options),
  'undici WebSocket': openUndiciWebSocket,
  eventsource: (options: OpenOptions) => openEventSource('eventsource', options),
} satisfies Record<string, (options: OpenOptions) => Promise<TestStream>>

export type Transport = keyof typeof OPENERS

/** The transports that one contract suite runs over. */
export const TRANSPORTS = [
  'sse',
  'ws',
  'poll',
  'durable long-poll',
  'durable sse',
] as const satisfies Transport[]

/** Those that go on after a reset. The others refuse an offset that cannot be continued: see durable-streams.test.ts. */
export const RESETTING = ['sse', 'ws', 'poll'] as const satisfies Transport[]

/** The two that stay open; only they say `stream.open`. */
export const STREAMING = ['sse', 'ws'] as const satisfies Transport[]

/** For clients that want to see the status of a refusal that passes: one that asks for SSE by name gets a stream instead. */
export const STATUSES = { headers: { accept: '*/*' } }

/** Every client there is. */
export const CLIENTS = Object.keys(OPENERS) as Transport[]

/**
 * Connects and waits for the first message (for poll, the first page), so that whatever happens next must be
 * delivered. Throws `Rejected` where the server answers with plain HTTP and the client can tell.
 */
export function open(transport: Transport, options: OpenOptions): Promise<TestStream> {
  return closing<TestStream>(OPENERS[transport](options))
}

/** Has the stream closed at the end of the test that opened it. */
export async function closing<S extends TestStream>(opening: Promise<S>): Promise<S> {
  const stream = await opening
  onTestFinished(() => stream.close())
  return stream
}
