import type { Attempt, Open } from './attempt.ts'
import type { Message, WebSocketConstructor, WebSocketLike } from './types.ts'

/**
 * A WebSocket can't be read slowly: what its reader has not taken lies in memory. Past this many messages the socket is
 * closed, and the stream goes on from its cursor once the reader has come so far.
 */
const MAX_UNREAD = 1000

/** 4500 replaced, 1008 a policy of the service: coming back would end the same way. */
const FINAL_CODES = [4500, 1008]

/** A close whose code forbids to come back; the message that says so may not have arrived. */
export class FinalClose extends Error {
  readonly code: number

  constructor(code: number) {
    super(code === 4500 ? 'a newer connection took its place' : `the service closed with code ${code}`)
    this.code = code
  }
}

/**
 * The stream over WebSocket.
 *
 * @param credential what stands in the query for the token, which a browser's WebSocket can't send in a header
 */
export function openWebSocket(
  WebSocket: WebSocketConstructor | undefined,
  credential: (attempt: Attempt) => Promise<Readonly<Record<string, string>>>,
): Open {
  return async function* (attempt) {
    if (WebSocket === undefined) return
    const { after, signal } = attempt
    const url = new URL('ws', attempt.base)
    url.protocol = url.protocol.replace('http', 'ws')
    url.searchParams.set('pings', 'on')
    if (after !== undefined) url.searchParams.set('last_event_id', after)
    for (const [name, value] of Object.entries(await credential(attempt))) url.searchParams.set(name, value)
    signal.throwIfAborted()

    const unread: Message[] = []
    let ended: { readonly error?: unknown } | undefined
    let wake = () => {}
    const end = (error?: unknown) => {
      ended ??= { error }
      wake()
    }
    const aborted = () => end(signal.reason)
    signal.addEventListener('abort', aborted)
    const socket = new WebSocket(url.href)
    const send = (message: object) => {
      if (socket.readyState === 1) socket.send(JSON.stringify(message))
    }
    attempt.probe = () => send({ type: 'ping' })
    attempt.renew = (fresh) => send({ type: 'auth', token: fresh })
    listen(socket, {
      onmessage: ({ data }: { data: unknown }) => {
        attempt.alive()
        if (typeof data !== 'string' || ended !== undefined) return
        unread.push(JSON.parse(data))
        if (unread.length > MAX_UNREAD) end()
        wake()
      },
      onclose: ({ code }: { code: number }) =>
        end(FINAL_CODES.includes(code) ? new FinalClose(code) : undefined),
      // Says nothing that the close does not; without a listener some implementations throw.
      onerror: () => {},
    })
    try {
      for (;;) {
        const message = unread.shift()
        if (message !== undefined) yield message
        else if (ended !== undefined) break
        else
          await new Promise<void>((resolve) => {
            wake = resolve
          })
      }
    } finally {
      signal.removeEventListener('abort', aborted)
      // Closing one that is still connecting makes browsers complain on the console.
      if (socket.readyState === 0) socket.onopen = () => socket.close()
      else socket.close()
    }
    if (ended.error !== undefined) throw ended.error
  }
}

/** The events' types differ between the browser's WebSocket, ws and undici; the parts used here do not. */
function listen(socket: WebSocketLike, handlers: Readonly<Record<string, (event: never) => void>>): void {
  Object.assign(socket, handlers)
}
