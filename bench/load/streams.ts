import { createHmac } from 'node:crypto'
import { connect, type OnReadOpts, type Socket } from 'node:net'

/** What every contender is started with. Not a secret: it signs nothing outside a benchmark. */
export const JWT_SECRET = 'the benchmark signs with this and nothing else does'

const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
const header = encode({ alg: 'HS256', typ: 'JWT' })

/** An HS256 token. The same user and hour give the same token, so that processes need not send them to each other. */
export function signToken(user: string): string {
  const hour = Math.floor(Date.now() / 3_600_000)
  const claims = encode({ sub: user, exp: (hour + 24) * 3600 })
  const signature = createHmac('sha256', JWT_SECRET).update(`${header}.${claims}`).digest('base64url')
  return `${header}.${claims}.${signature}`
}

/** How a client opens a stream; the bytes after that are the same for all: events with their `"seq":`. */
export type Protocol = 'sse' | 'ws' | 'nchan-sse' | 'nchan-ws' | 'socket.io'

interface Opening {
  readonly path: string
  readonly headers: string
  /** In the server's bytes once events must arrive. */
  readonly opened: string
  /** Sent when `after` has come, where the server waits for it. */
  readonly reply?: { readonly after: string; readonly bytes: Buffer }
  /** Sent now and then, unasked, since frames are not parsed here and a silent peer would be dropped. */
  readonly keepAlive?: Buffer
}

const SSE = { path: '/events?', headers: 'Accept: text/event-stream', opened: 'stream.open' }
const WS = {
  path: '/ws?',
  // RFC 6455 §4.1. The key is a constant: nobody between here and the loopback caches.
  headers: `Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${'A'.repeat(22)}==`,
  opened: 'stream.open',
  // An empty pong, masked with zeros (RFC 6455 §5.5.3: it may come without a ping).
  keepAlive: Buffer.from([0x8a, 0x80, 0, 0, 0, 0]),
}
const OPENINGS: Readonly<Record<Protocol, Opening>> = {
  sse: SSE,
  ws: WS,
  'nchan-sse': { ...SSE, opened: ': hi' },
  'nchan-ws': { ...WS, opened: '\r\n\r\n' },
  'socket.io': {
    ...WS,
    path: '/socket.io/?EIO=4&transport=websocket&',
    // Engine.IO's `0` opens the transport, Socket.IO's `40` joins the main namespace: a text frame, masked with zeros.
    reply: { after: '0{"sid"', bytes: Buffer.from([0x81, 0x82, 0, 0, 0, 0, 0x34, 0x30]) },
  },
}

/** Glimpse verifies a token, the peers take the user's name. */
type Identity = { readonly token: string } | { readonly user: string }

/** `cursor`: where to resume. */
export function handshake(protocol: Protocol, url: string, identity: Identity, cursor?: string) {
  const opening = OPENINGS[protocol]
  const { host } = new URL(url)
  const query = new URLSearchParams({ ...identity, ...(cursor && { last_event_id: cursor }) })
  const request = `GET ${opening.path}${query} HTTP/1.1\r\nHost: ${host}\r\n${opening.headers}\r\n\r\n`
  return { ...opening, url, request }
}

const OPEN_TIMEOUT_MS = 30_000

/** libuv reads and calls back in one go, so one buffer serves every socket of the process: no allocation per read. */
const shared = Buffer.alloc(65_536)

/**
 * Opens one stream by hand: the request, then raw bytes. Resolves once the handshake's `opened` has come, which is when
 * events must arrive; every read from then on is handed to `onBytes`, whose buffer is reused after it returns.
 */
export function openStream(
  { url, request, opened, reply }: ReturnType<typeof handshake>,
  onBytes: (bytes: Buffer) => void,
): Promise<Socket> {
  return new Promise((resolve, reject) => {
    let [head, replied, take] = [Buffer.alloc(0), false, opening]
    const callback = (length: number) => {
      take(shared.subarray(0, length))
      return true
    }
    const socket = connectTo(url, { buffer: shared, callback })
    const fail = (why: string) => {
      clearTimeout(timer)
      socket.destroy()
      reject(new Error(`a stream ${why}`))
    }
    const timer = setTimeout(() => fail('was not opened in time'), OPEN_TIMEOUT_MS)
    function opening(bytes: Buffer) {
      head = Buffer.concat([head, bytes])
      const status = head.toString('latin1', 9, 12)
      // Glimpse refuses an EventSource for now by a stream of one message, which would never open.
      const refused = (status !== '200' && status !== '101') || head.includes('event: stream.close')
      if (head.length >= 12 && refused) return fail(`was refused: ${head.toString('latin1', 0, 300)}`)
      if (reply !== undefined && !replied && head.includes(reply.after)) {
        replied = true
        socket.write(reply.bytes)
      }
      if (!head.includes(opened)) return
      clearTimeout(timer)
      take = onBytes
      onBytes(head)
      resolve(socket)
    }
    socket.once('error', (error) => fail(`failed: ${error.message}`))
    socket.once('close', () => fail('was closed before it was open'))
    socket.write(request)
  })
}

function connectTo(url: string, onread?: OnReadOpts): Socket {
  const { hostname: host, port } = new URL(url)
  return connect({ host, port: Number(port), noDelay: true, ...(onread && { onread }) })
}

/**
 * A connection on which requests are pipelined and answers only counted: an HTTP client would be the bottleneck.
 * `send` resolves when all requests were answered with 2xx; only one may be on the way.
 */
export function openPipelined(url: string) {
  const socket = connectTo(url)
  let [missing, rest] = [0, '']
  let settle: { resolve(): void; reject(why: Error): void } | undefined
  const fail = (why: string) => settle?.reject(new Error(why))
  socket.on('error', (error) => fail(error.message))
  socket.on('end', () => fail('the server closed a publishing connection'))
  socket.on('data', (chunk) => {
    const text = rest + chunk.toString('latin1')
    const heads = [...text.matchAll(/HTTP\/1\.1 (\d)/g)]
    const bad = heads.find(([, digit]) => digit !== '2')
    if (bad !== undefined) fail(text.slice(bad.index, bad.index + 200))
    // What may be the beginning of the next head; never one that was counted.
    const last = heads.at(-1)
    rest = text.slice(Math.max(last === undefined ? 0 : last.index + last[0].length, text.length - 9))
    missing -= heads.length
    if (missing === 0) settle?.resolve()
  })
  return {
    send: (requests: readonly string[]) =>
      new Promise<void>((resolve, reject) => {
        settle = { resolve, reject }
        missing = requests.length
        socket.write(requests.join(''))
      }),
    close: () => void socket.destroy(),
  }
}
