import Negotiator from 'negotiator'

const EVENTS = 'text/event-stream'
const JSON_TYPE = 'application/json'
/** In order of preference. A media range with a parameter matches only a type with the same one; some clients send this one. */
const OFFERED = [EVENTS, JSON_TYPE, `${EVENTS}; charset=utf-8`, `${JSON_TYPE}; charset=utf-8`]

/**
 * Whether `Accept` asks for a page rather than a stream (RFC 9110 §12.5.1). EventSource asks for `text/event-stream`, curl
 * for anything: both get the stream, and so do clients that accept neither.
 */
export function wantsJson(accept: string | undefined): boolean {
  // The usual values.
  if (accept === undefined || accept === EVENTS || accept === '*/*') return false
  return new Negotiator({ headers: { accept } }).mediaType(OFFERED)?.startsWith(JSON_TYPE) === true
}

/** Whether `Accept` lists `text/event-stream` itself, with a weight above zero, rather than a wildcard. */
export function namesEventStream(accept: string | undefined): boolean {
  if (accept === undefined || accept === '*/*') return false
  const named = new Negotiator({ headers: { accept } }).mediaTypes()
  return named.some((type) => type.toLowerCase() === EVENTS)
}
