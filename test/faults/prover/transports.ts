import { Agent, get, type IncomingMessage } from 'node:http'
import { createParser } from 'eventsource-parser'
import { WebSocket } from 'ws'
import { eventTexts, type Page } from '../../support/clients/poll.ts'
import { webSocketUrl } from '../../support/clients/websocket.ts'
import { partsOf } from '../../support/cursor.ts'
import type { Connect, Listener } from './client.ts'

/** A connection that is not answered at all has failed after this. */
const OPEN_TIMEOUT_MS = 5000

/** Reports the end once, whichever of a connection's many signs of it comes first. */
function once(listener: Listener): (why: string) => void {
  let told = false
  return (why) => {
    if (told) return
    told = true
    listener.ended(why)
  }
}

const connectSse: Connect = ({ url, token, cursor }, listener) => {
  const ended = once(listener)
  const parser = createParser({
    onEvent: ({ data }) => listener.message(data),
    onComment: () => listener.alive(),
  })
  const headers = {
    accept: 'text/event-stream',
    authorization: `Bearer ${token}`,
    ...(cursor === undefined ? {} : { 'last-event-id': cursor }),
  }
  const request = get(new URL('/events', url), { agent: false, headers }, (response) => {
    clearTimeout(timer)
    if (response.statusCode !== 200) {
      request.destroy()
      ended(`status ${response.statusCode}`)
      return
    }
    response
      .setEncoding('utf8')
      .on('data', (chunk: string) => parser.feed(chunk))
      .on('error', (error) => ended(error.message))
      .on('close', () => ended('closed'))
  })
  const timer = setTimeout(() => request.destroy(new Error('no answer')), OPEN_TIMEOUT_MS)
  request.on('error', (error) => ended(error.message)).on('close', () => clearTimeout(timer))
  return { cut: () => void request.destroy(new Error('cut')) }
}

const connectWebSocket: Connect = ({ url, token, cursor }, listener) => {
  const ended = once(listener)
  const socket = new WebSocket(webSocketUrl(url, cursor), {
    handshakeTimeout: OPEN_TIMEOUT_MS,
    headers: { authorization: `Bearer ${token}` },
  })
  socket
    .on('message', (data) => listener.message(String(data)))
    .on('ping', () => listener.alive())
    .on('error', (error) => ended(error.message))
    .on('close', (code) => ended(`closed with ${code}`))
  return { cut: () => socket.terminate() }
}

const POLL_INTERVAL_MS = 250
/** Small, so that catching up takes several pages. */
const POLL_LIMIT = 20

const agent = new Agent({ keepAlive: true })

/** Polls as if it were a stream: the first page opens it, the first that fails ends it. */
const connectPoll: Connect = ({ url, token, cursor }, listener) => {
  const ended = once(listener)
  let stopped = false
  let after = cursor
  const loop = async () => {
    for (let opened = false; !stopped; opened = true) {
      const text = await fetchPage(url, token, after)
      if (stopped) break
      const page = JSON.parse(text) as Page
      listener.alive()
      // A page does not name the place it begins at; its cursor is as many events further, on a first page too.
      const { epoch, seq } = partsOf(page.cursor)
      const cursor = page.events.length === 0 ? page.cursor : `${epoch}.${seq - page.events.length}`
      if (!opened) tell(listener, 'stream.open', { cursor: after ?? cursor, oldest: 0, resumed: true })
      if (page.reset !== null) tell(listener, 'stream.reset', { ...page.reset, cursor })
      for (const event of eventTexts(text)) listener.message(event)
      after = page.cursor
      if (!page.has_more) await new Promise((resolve) => setTimeout(resolve, POLL_INTERVAL_MS))
    }
  }
  loop().then(
    () => ended('stopped'),
    (error: Error) => ended(error.message),
  )
  return {
    cut() {
      stopped = true
      ended('cut')
    },
  }
}

function tell(listener: Listener, type: string, data: unknown): void {
  listener.message(JSON.stringify({ type, data }))
}

function fetchPage(url: string, token: string, after: string | undefined): Promise<string> {
  const target = new URL(`/events?limit=${POLL_LIMIT}`, url)
  if (after !== undefined) target.searchParams.set('after', after)
  const headers = { accept: 'application/json', authorization: `Bearer ${token}` }
  return new Promise((resolve, reject) => {
    const request = get(target, { agent, headers, timeout: OPEN_TIMEOUT_MS }, (response) => {
      readAll(response).then((text) => {
        if (response.statusCode === 200) resolve(text)
        else reject(new Error(`status ${response.statusCode}`))
      }, reject)
    })
    request.on('timeout', () => request.destroy(new Error('no answer'))).on('error', reject)
  })
}

async function readAll(response: IncomingMessage): Promise<string> {
  let text = ''
  for await (const chunk of response.setEncoding('utf8')) text += chunk
  return text
}

export const TRANSPORTS = { sse: connectSse, ws: connectWebSocket, poll: connectPoll } as const
