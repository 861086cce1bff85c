import type { ErrorCode, GlimpseError } from '../errors.ts'
import type { CloseReason } from '../event.ts'
import { CLOSES } from '../hub/connection.ts'
import { sseControl } from '../transport/sse.ts'
import type { Answer } from './answer.ts'

/** The temporary refusals (429 and 503), with the reason of stream.close for each. */
const PAUSES: Readonly<Partial<Record<ErrorCode, CloseReason>>> = {
  too_many_requests: 'overloaded',
  full: 'overloaded',
  overloaded: 'overloaded',
  busy: 'unavailable',
  unavailable: 'unavailable',
  draining: 'draining',
}

/**
 * A temporary refusal as a stream of one message. A browser's EventSource gives up for good at any status but 200 (WHATWG
 * HTML §9.2.3), and the page would get no events until it is loaded again.
 *
 * `retry` is a random time from half to one and a half times the wait, so that clients that were refused together do not
 * reconnect together.
 *
 * @returns undefined for a permanent refusal, which keeps its status
 */
export function pauseAnswer({ code, details }: GlimpseError, random = Math.random): Answer | undefined {
  const reason = PAUSES[code]
  if (reason === undefined) return undefined
  const waitMs = details.retryAfter === undefined ? CLOSES[reason].retryMs : details.retryAfter * 1000
  const retryMs = Math.round(waitMs * (0.5 + random()))
  const data = { reason, reconnect: true, retry_ms: retryMs }
  return {
    status: 200,
    headers: { 'Content-Type': 'text/event-stream; charset=utf-8' },
    body: `retry: ${retryMs}\n${sseControl({ type: 'stream.close', data })}`,
  }
}
