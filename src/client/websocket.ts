import { ask, JSON_TYPE, type Open, urlOf } from './attempt.ts'
import type { Message, WebSocketConstructor, WebSocketLike } from './types.ts'

/**
 * A WebSocket can't be read slowly: unread messages stay in memory. At this many messages, or characters, the socket is
 * closed, and the stream resumes after its cursor once the reader has caught up.
 */
const MAX_UNREAD = 1000
const MAX_UNREAD_CHARACTERS = 1 << 20

/** A socket that is dropped while it connects is closed by force after this. */
const CONNECTING_MS = 10_000

/** 4500 replaced, 1008 a policy of the service: a new connection would end the same way. */
const FINAL_CODES = [4500, 1008]

/** A close code that forbids reconnecting; the message that says so may not have arrived. */
export class FinalClose extends Error {
  readonly code: number

  constructor(code: number, reason: string) {
    super(reason || `the service closed with code ${code}`)
    this.code = code
  }
}

/**
 * The stream over WebSocket. A browser can't send a token in a header here, so a ticket stands for it in the URL. A ticket
 * opens one connection within seconds, so that the token stays out of the logs of proxies.
 */
export function openWebSocket(WebSocket: WebSocketConstructor | undefined): Open {
  return async function* (attempt) {
    if (WebSocket === undefined) return
    const { base, token, after, signal } = attempt
    const answer = token && (await ask(attempt, 'tickets', JSON_TYPE, {}, { method: 'POST' }))
    const ticket: string | undefined = answer ? (await answer.json()).ticket : undefined
    signal.throwIfAborted()
    const url = urlOf(base, 'ws', { pings: 'on', last_event_id: after, ticket })
    url.protocol = url.protocol.replace('http', 'ws')

    const unread: string[] = []
    let characters = 0
    let ended: { readonly error?: unknown } | undefined
    let wake = () => {}
    const end = (error?: unknown) => {
      ended ??= { error }
      leave(socket)
      wake()
    }
    const socket = new WebSocket(url.href)
    const aborted = () => end(signal.reason)
    signal.addEventListener('abort', aborted)
    const send = (message: object) => socket.send(JSON.stringify(message))
    listen(socket, {
      // Not before: a socket that connects can send nothing, and a token that comes meanwhile needs another.
      onopen: () => {
        attempt.probe = () => send({ type: 'ping' })
        attempt.renew = (token) => send({ type: 'auth', token })
      },
      onmessage: ({ data }: { data: unknown }) => {
        attempt.alive()
        if (typeof data !== 'string' || ended !== undefined) return
        unread.push(data)
        characters += data.length
        if (unread.length > MAX_UNREAD || characters > MAX_UNREAD_CHARACTERS) end()
        wake()
      },
      onclose: ({ code, reason = '' }: { code: number; reason?: string }) =>
        end(FINAL_CODES.includes(code) ? new FinalClose(code, reason) : undefined),
      // It says no more than the close event; without a listener some implementations throw.
      onerror: () => {},
    })
    try {
      for (;;) {
        const text = unread.shift()
        if (text !== undefined) {
          characters -= text.length
          yield JSON.parse(text) as Message
        } else if (ended !== undefined) break
        else
          await new Promise<void>((resolve) => {
            wake = resolve
          })
      }
    } finally {
      signal.removeEventListener('abort', aborted)
      if (ended === undefined) leave(socket)
    }
    if (ended.error !== undefined) throw ended.error
  }
}

/** Closes a socket, but not while it connects, because browsers then log an error. */
function leave(socket: WebSocketLike): void {
  const close = () => socket.close()
  if (socket.readyState === 0) {
    const timer = setTimeout(close, CONNECTING_MS)
    socket.onopen = close
    socket.onclose = () => clearTimeout(timer)
  } else close()
}

/** The events' types differ between the browser's WebSocket, ws and undici; the parts used here do not. */
function listen(socket: WebSocketLike, handlers: Readonly<Record<string, (event: never) => void>>): void {
  Object.assign(socket, handlers)
}
