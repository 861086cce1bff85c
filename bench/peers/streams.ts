import { EventEmitter, once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import { createServer as createNetServer, type Socket } from 'node:net'
import type { Channel } from 'better-sse'
import { type Event, eventFrame, eventText, nextEvent } from '../load/events.ts'
import type { Feeding } from '../load/feed.ts'
import { inPace, nowMs } from '../load/jobs.ts'
import { answer, readBody, serve } from './http.ts'

const OPEN = '{"type":"stream.open","data":{"cursor":"0","oldest":1,"resumed":false}}'
const OPEN_FRAME = `event: stream.open\ndata: ${OPEN}\n\n`
const SSE = { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' }

/** Events a turn of the event loop, so that reads and writes of the sockets get their turn as well. */
const BURST = 200

type Feed = (feeding: Feeding) => Promise<number>

/**
 * `POST /feed` with a `Feeding`: `feed` sends events from memory, and returns how many. Answers `{startedAt, events}`
 * once all are handed over. Other requests are streams, for `open`.
 */
function feedServer(feed: Feed, open?: RequestListener) {
  return createServer(async (request, response) => {
    if (request.method !== 'POST') return open?.(request, response)
    const feeding = JSON.parse(await readBody(request)) as Feeding
    const startedAt = nowMs()
    answer(response, 200, { startedAt, events: await feed(feeding) })
  })
}

/** Each event goes to one of the first users at random. */
function publishing(publish: (event: Event) => void): Feed {
  return async ({ ms, users, rate }) => {
    let events = 0
    await inPace({ ms, rate, atOnce: BURST }, (count) => {
      events += count
      for (let i = 0; i < count; i += 1) publish(nextEvent(`user_${Math.floor(Math.random() * users)}`))
    })
    return events
  }
}

/** Each user's connections listen to events under the user's name, for the servers that keep them by hand. */
const crowd = new EventEmitter().setMaxListeners(0)
const feedCrowd = publishing((event) => crowd.emit(event.user, event))

/** Has `send` called with the user's events until the connection closes. */
function join(user: string, connection: EventEmitter, send: (event: Event) => void): void {
  crowd.on(user, send)
  connection.on('close', () => crowd.off(user, send))
}

/** The user a stream's URL names. */
function userOf(url = ''): string {
  const user = new URL(url, 'http://localhost').searchParams.get('user')
  if (user === null) throw new Error(`${url} names no user`)
  return user
}

/** No HTTP on a stream: `open` is called with its socket and user. Only the feed's POST is handed to http. */
function netServer(feed: Feed, open: (socket: Socket, user: string) => void) {
  const http = feedServer(feed)
  return createNetServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', (head) => {
      const text = head.toString('latin1')
      if (!text.startsWith('POST')) return open(socket, userOf(text.split(' ')[1]))
      socket.unshift(head)
      http.emit('connection', socket)
    })
  })
}

/** The bound for Node: one `socket.write` an event. */
function bareNet() {
  return netServer(feedCrowd, (socket, user) => {
    socket.write(`HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n${OPEN_FRAME}`)
    join(user, socket, (event) => socket.write(eventFrame(event)))
  })
}

/** Server-sent events as one writes them first: `res.write`, a string an event, chunked. */
function bareSse() {
  return feedServer(feedCrowd, ({ url }, response) => {
    response.writeHead(200, SSE)
    response.write(OPEN_FRAME)
    join(userOf(url), response, (event) => response.write(eventFrame(event)))
  })
}

/** WebSockets as one writes them first: `ws.send`, a string an event. */
async function bareWs() {
  const { WebSocketServer } = await import('ws')
  const server = feedServer(feedCrowd)
  const sockets = new WebSocketServer({ server, perMessageDeflate: false })
  sockets.on('connection', (socket, request) => {
    socket.on('error', () => {})
    socket.send(OPEN)
    join(userOf(request.url), socket, ({ json }) => socket.send(json))
  })
  return server
}

/** better-sse as its guide has it: a session a connection, a channel a user. */
async function betterSse() {
  const { createChannel, createSession } = await import('better-sse')
  const channels = new Map<string, Channel>()
  const feed = publishing(({ user, seq, json }) => {
    channels.get(user)?.broadcast(JSON.parse(json), 'story.viewed', { eventId: `7f3a9c2b11de.${seq}` })
  })
  return feedServer(feed, async (request, response) => {
    const user = userOf(request.url)
    const session = await createSession(request, response)
    const channel = channels.get(user) ?? createChannel()
    channels.set(user, channel)
    channel.register(session)
    session.push(JSON.parse(OPEN), 'stream.open')
  })
}

/**
 * Socket.IO as its guide has it: a room a user. With DATABASE_URL the Postgres adapter joins several of these: the one
 * that is fed holds no connections, so every event goes through NOTIFY.
 */
async function socketIo() {
  const { Server } = await import('socket.io')
  const io = new Server({ transports: ['websocket'], perMessageDeflate: false, pingInterval: 600_000 })
  if (process.env.DATABASE_URL !== undefined) {
    const [{ createAdapter }, { Pool }] = [await import('@socket.io/postgres-adapter'), await import('pg')]
    const pool = new Pool({ connectionString: process.env.DATABASE_URL, max: 10 })
    await pool.query(`CREATE TABLE IF NOT EXISTS socket_io_attachments (
      id bigserial UNIQUE, created_at timestamptz DEFAULT now(), payload bytea)`)
    io.adapter(createAdapter(pool))
  }
  io.on('connection', (socket) => {
    socket.join(socket.handshake.query.user as string)
    socket.emit('stream.open', {})
  })
  // Before it attaches: Engine.IO takes over the requests for its own path and leaves the others to whoever was there.
  const feed = publishing(({ user, json }) => io.to(user).emit('story.viewed', JSON.parse(json)))
  const server = feedServer(feed)
  io.attach(server)
  return server
}

/** Events a write of the raw source. */
const RUN = 100

/**
 * No contender: a source that costs next to nothing, to find out how much the clients can take. Each write is a run of
 * events made once, sent to one socket after the other; what is asked of the clients is the same count and check.
 */
function rawSource() {
  const sockets = new Set<Socket>()
  let head = 0
  const feed: Feed = async ({ ms }) => {
    let events = 0
    for (const startedAt = nowMs(); nowMs() - startedAt < ms; head += RUN) {
      const frames = Array.from({ length: RUN }, (_, i) => `data: ${eventText(head + 1 + i, '-')}\n\n`)
      const run = Buffer.from(frames.join(''))
      for (const socket of sockets) socket.write(run)
      events += RUN * sockets.size
      const full = [...sockets].filter((socket) => socket.writableNeedDrain)
      await Promise.all(full.map((socket) => once(socket, 'drain')))
    }
    return events
  }
  return netServer(feed, (socket) => {
    socket.write(`HTTP/1.1 200 OK\r\n\r\ndata: ${OPEN}\n\n`)
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
}

/** Pushpin's origin: answers once and leaves the stream to it, subscribed to the user's channel (GRIP's hold). */
function pushpinOrigin() {
  return createServer((request, response) => {
    const grip = { 'grip-hold': 'stream', 'grip-channel': userOf(request.url) }
    response.writeHead(200, { 'content-type': 'text/event-stream', ...grip })
    response.end(OPEN_FRAME)
  })
}

/** Servers that deliver events from memory, one of them by PEER. Each imports only what it uses. */
await serve({
  'bare-net': bareNet,
  'bare-sse': bareSse,
  'bare-ws': bareWs,
  'better-sse': betterSse,
  'socket-io': socketIo,
  'raw-source': rawSource,
  'pushpin-origin': pushpinOrigin,
})
