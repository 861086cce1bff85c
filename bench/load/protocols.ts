/** How a client of the bench opens a stream; the bytes after that are the same for all: events with their `"seq":`. */
export type Protocol = 'sse' | 'ws' | 'socket.io' | 'nchan-sse' | 'nchan-ws'

export interface Handshake {
  readonly request: Buffer
  /** In the server's bytes once events must arrive. */
  readonly opened: Buffer
  /** Sent when `after` has come, where the server waits for it. */
  readonly reply?: { readonly after: Buffer; readonly bytes: Buffer }
  /** Sent now and then, unasked, since frames are not parsed here and a silent peer would be dropped. */
  readonly keepAlive?: Buffer
}

/** Who the client says it is: Glimpse verifies a token, the peers take the user's name. */
export type Identity = { readonly token: string } | { readonly user: string }

const STREAM_OPEN = Buffer.from('stream.open')
const OPENED: Readonly<Record<Protocol, Buffer>> = {
  sse: STREAM_OPEN,
  ws: STREAM_OPEN,
  'socket.io': STREAM_OPEN,
  'nchan-sse': Buffer.from(': hi'),
  'nchan-ws': Buffer.from('\r\n\r\n'),
}

/** An empty pong, masked with zeros (RFC 6455 §5.5.3: it may come without a ping). */
const PONG = Buffer.from([0x8a, 0x80, 0, 0, 0, 0])

/** `cursor`: where to resume. */
export function handshake(protocol: Protocol, host: string, identity: Identity, cursor?: string): Handshake {
  const query = new URLSearchParams({
    ...identity,
    ...(cursor === undefined ? {} : { last_event_id: cursor }),
  })
  const opened = OPENED[protocol]
  if (protocol === 'sse' || protocol === 'nchan-sse')
    return {
      request: Buffer.from(
        `GET /events?${query} HTTP/1.1\r\nHost: ${host}\r\nAccept: text/event-stream\r\n\r\n`,
      ),
      opened,
    }
  if (protocol !== 'socket.io') return { request: upgrade(`/ws?${query}`, host), opened, keepAlive: PONG }
  return {
    request: upgrade(`/socket.io/?EIO=4&transport=websocket&${query}`, host),
    opened,
    // Engine.IO's `0` opens the transport, Socket.IO's `40` joins the main namespace.
    reply: { after: Buffer.from('0{"sid"'), bytes: textFrame('40') },
    keepAlive: PONG,
  }
}

/** RFC 6455 §4.1. The key is a constant: nobody between here and the loopback caches. */
function upgrade(path: string, host: string): Buffer {
  const key = Buffer.alloc(16).toString('base64')
  return Buffer.from(
    `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n\r\n`,
  )
}

/** A short text frame as a client sends it, masked with zeros (RFC 6455 §5.3). */
function textFrame(text: string): Buffer {
  return Buffer.concat([Buffer.from([0x81, 0x80 | text.length, 0, 0, 0, 0]), Buffer.from(text)])
}
