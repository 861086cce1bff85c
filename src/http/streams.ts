import type { IncomingHttpHeaders } from 'node:http'
import { GlimpseError } from '../errors.ts'
import { parseResumePoint, type ResumePoint, unreadOf } from '../event.ts'
import type { Registration } from '../hub/hub.ts'
import { beginSse } from '../transport/sse.ts'
import { wantsJson } from './accept.ts'
import type { Answer } from './answer.ts'
import { authenticate, type Context, type Handler, type RequestUrl } from './context.ts'
import { refuseForeignOrigin } from './cors.ts'
import { readPage } from './read-page.ts'
import { takePlace } from './take-place.ts'

/** `GET /events`: Server-Sent Events, or one page of the log for a client that asks for JSON. */
export const getEvents: Handler = async (context) => {
  refuseForeignOrigin(context)
  if (wantsJson(context.request.headers.accept)) return poll(context)
  const { request, response, url } = context
  const lastEventId = request.headers['last-event-id']
  const resume = parseResumePoint(
    typeof lastEventId === 'string' && lastEventId !== '' ? lastEventId : lastEventIdOf(url),
  )
  beginSse(response, await enter(context, resume), context.headers)
  return undefined
}

/** `GET /ws`: the same stream over WebSocket. Refusals come before the upgrade, as plain HTTP. */
export const getWebSocket: Handler = async (context) => {
  refuseForeignOrigin(context)
  const { app, request, url, upgradeHead } = context
  if (upgradeHead === undefined) {
    throw new GlimpseError('upgrade_required', {
      detail: 'Open /ws with a WebSocket client: a GET with `Upgrade: websocket` and without a body.',
    })
  }
  refuseBadHandshake(request.headers)
  const { socket } = request
  const registration = await enter(context, parseResumePoint(lastEventIdOf(url)))
  context.response.detachSocket(socket)
  const answersPings = url.searchParams.get('pings') === 'on'
  app.websockets.begin(request, socket, upgradeHead, registration, answersPings)
  return undefined
}

/** RFC 9110 §5.6.2. */
const TOKEN = /^[\w!#$%&'*+.^`|~-]+$/

/** RFC 6455 §4.2.1 and §4.4. The transport would refuse it too, but only after the registration. */
function refuseBadHandshake(headers: IncomingHttpHeaders): void {
  if (headers['sec-websocket-version'] !== '13') {
    throw new GlimpseError('upgrade_required', { detail: 'Sec-WebSocket-Version must be 13.' })
  }
  if (!/^[+/0-9A-Za-z]{22}==$/.test(headers['sec-websocket-key'] ?? '')) {
    throw new GlimpseError('malformed_request', { detail: 'Sec-WebSocket-Key must be 16 bytes in base64.' })
  }
  const protocols = headers['sec-websocket-protocol']?.split(',').map((name) => name.trim()) ?? []
  if (!protocols.every((name) => TOKEN.test(name)) || new Set(protocols).size < protocols.length) {
    throw new GlimpseError('malformed_request', {
      detail: 'Sec-WebSocket-Protocol must be different names, with commas between.',
    })
  }
}

async function enter(context: Context, resume: ResumePoint): Promise<Registration> {
  const { app, network } = context
  app.limits.count('address_connects', network)
  const identity = await authenticate(context, { query: true })
  app.limits.count('user_connects', identity.user)
  return await takePlace(context, identity, resume)
}

/** For polyfills of EventSource, which cannot send the header. Yaffle's polyfill uses `lastEventId`. */
function lastEventIdOf({ searchParams }: RequestUrl): string | null {
  return searchParams.get('last_event_id') ?? searchParams.get('lastEventId')
}

const MAX_POLL_EVENTS = 1000

/** One page of the stream after `?after=`, with the same texts as the streams. */
async function poll(context: Context): Promise<Answer> {
  const { app, url } = context
  const { user } = await authenticate(context, { query: true })
  const limit = url.searchParams.get('limit') ?? '100'
  if (!/^[1-9][0-9]{0,3}$/.test(limit) || Number(limit) > MAX_POLL_EVENTS) {
    throw new GlimpseError('invalid_field', {
      field: 'limit',
      detail: 'limit must be a whole number from 1 to 1000.',
    })
  }
  const point = parseResumePoint(url.searchParams.get('after'))
  const page = await readPage(app, user, point, Number(limit))
  const reset = page.reset === undefined ? null : { reason: page.reset, oldest: page.stream.oldest }
  return {
    status: 200,
    headers: { 'Content-Type': 'application/json' },
    body: concat([
      '{"events":[',
      ...page.texts.flatMap((text, i) => (i === 0 ? [text] : [',', text])),
      `],"cursor":"${page.cursor}","has_more":${page.hasMore},"reset":${JSON.stringify(reset)},`,
      `"read":"${page.read}","unread":${unreadOf(page.stream)}}`,
    ]),
  }
}

/** Bytes outside of V8's heap: a page as one string would be garbage that only a full collection frees. */
function concat(parts: readonly string[]): Buffer {
  const bytes = Buffer.allocUnsafeSlow(parts.reduce((length, part) => length + Buffer.byteLength(part), 0))
  let end = 0
  for (const part of parts) end += bytes.write(part, end)
  return bytes
}
