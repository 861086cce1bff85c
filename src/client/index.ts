/**
 * The client of Glimpse for browsers and Node 20 or newer: one user's events, each handled once and in order, whatever
 * happens to the connection.
 *
 * The promise: while the stream lives, events come in the order of `seq`, none missing and none twice. The cursor moves
 * after the handler is done with an event. So after a crash or a reload with a `store`, the event that was being handled
 * comes again (at least once). If the service can't keep the promise, it calls `onReset`.
 */
import { Stream } from './stream.ts'
import type { ConnectOptions } from './types.ts'

export type {
  CloseReason,
  EventType,
  GlimpseEvent,
  ResetReason,
  StoryReacted,
  StoryViewed,
} from '../event.ts'
export { localStorageCursor } from './stores.ts'
export type { Stream } from './stream.ts'
export {
  type ClosedReason,
  type ConnectOptions,
  type CursorStore,
  type EventOf,
  type Gap,
  type Notices,
  type Reset,
  SignedOutError,
  type State,
  type StoryEvents,
  StreamError,
  type Timing,
  type Transport,
  type WebSocketConstructor,
  type WebSocketLike,
} from './types.ts'

/**
 * Opens the caller's stream of events and keeps it open until `close()`.
 *
 * @example
 * const stream = connect({ url: 'https://glimpse.example', getToken, onEvent: (event) => show(event) })
 * @example
 * for await (const event of connect({ url, token })) show(event)
 */
export function connect<Own extends object = object>(options: ConnectOptions<Own>): Stream<Own> {
  return new Stream(options)
}
