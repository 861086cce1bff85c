import type { ErrorCode, GlimpseError } from '../errors.ts'
import type { CloseReason } from '../event.ts'
import { CLOSES } from '../hub/connection.ts'
import { sseControl } from '../transport/sse.ts'
import type { Answer } from './answer.ts'

/** The refusals that pass by themselves, all of them 429 or 503, and the reason a stream gives for each. */
const PAUSES: Readonly<Partial<Record<ErrorCode, CloseReason>>> = {
  too_many_requests: 'overloaded',
  full: 'overloaded',
  overloaded: 'overloaded',
  busy: 'unavailable',
  unavailable: 'unavailable',
  draining: 'draining',
}

/**
 * A refusal that passes by itself, as a stream of one message. A browser's EventSource gives up for good at any status
 * but 200 (WHATWG HTML §9.2.3), and a page would stay deaf until it is loaded again.
 *
 * `retry` is spread from half to one and a half times the wait, so that the clients that were refused together do not come
 * back together.
 *
 * @returns undefined for a refusal that does not pass by itself: it keeps its status
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
