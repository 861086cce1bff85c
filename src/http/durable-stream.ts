import { createHash } from 'node:crypto'
import type { OutgoingHttpHeaders } from 'node:http'
import type { Identity } from '../auth/claims.ts'
import { GlimpseError } from '../errors.ts'
import type { ResumePoint } from '../event.ts'
import { beginDurableSse, type Waited, waitForEvents } from '../transport/durable-stream.ts'
import { StreamCursor } from '../transport/stream-cursor.ts'
import { formatOffset, parseOffset } from '../transport/stream-offset.ts'
import type { Answer } from './answer.ts'
import { authenticate, type Context, type Handler, type RequestUrl } from './context.ts'
import { refuseForeignOrigin } from './cors.ts'
import { hasTag } from './etag.ts'
import { readPage } from './read-page.ts'
import { takePlace } from './take-place.ts'

/**
 * `GET /me/stream` and `HEAD /me/stream`: the caller's events by the read side of the Durable Streams protocol, version
 * 1.0, in JSON mode (github.com/durable-streams, PROTOCOL.md §5.4 to §5.7): a page of them, a long poll, or SSE.
 */
export const getStream: Handler = async (context) => {
  refuseForeignOrigin(context)
  const { app, request, url } = context
  const identity = await authenticate(context)
  if (request.method === 'HEAD') return describe(context, identity)
  const live = liveOf(url)
  const point = pointOf(url, live !== undefined)
  const streamCursor = new StreamCursor(url.searchParams.get('cursor'))
  if (live === 'sse') {
    app.limits.count('user_connects', identity.user)
    return follow(context, identity, point, streamCursor)
  }
  if (point.from === 'now')
    return live === undefined
      ? empty(context, identity, streamCursor)
      : wait(context, identity, point, streamCursor)

  const { texts, reset, cursor, hasMore } = await readPage(app, identity.user, point)
  if (reset !== undefined) throw lostHistory()
  if (texts.length === 0 && live === 'long-poll') return wait(context, identity, point, streamCursor)
  return pageAnswer(context, identity, {
    to: cursor,
    events: texts.join(','),
    isUpToDate: !hasMore,
    streamCursor,
  })
}

type Live = 'long-poll' | 'sse'

function liveOf({ searchParams }: RequestUrl): Live | undefined {
  const live = searchParams.get('live')
  if (live === null || live === 'long-poll' || live === 'sse') return live ?? undefined
  throw new GlimpseError('invalid_field', { field: 'live', detail: 'live must be long-poll or sse.' })
}

/** Where the reader continues. A live read must say so, because the default is everything that is kept. */
function pointOf({ searchParams }: RequestUrl, isLive: boolean): ResumePoint {
  const [offset, ...more] = searchParams.getAll('offset')
  if (offset === undefined && !isLive) return { from: 'oldest' }
  const point = offset === undefined || more.length > 0 ? undefined : parseOffset(offset)
  if (point !== undefined && point.from !== 'invalid') return point
  throw new GlimpseError('invalid_field', {
    field: 'offset',
    detail: 'offset must be given once: -1, now, or what Stream-Next-Offset said.',
  })
}

function lostHistory(): GlimpseError {
  return new GlimpseError('lost_history', {
    field: 'offset',
    detail:
      'Events after this offset are no longer kept, or it is from another history: read from -1 or now, and reload your data.',
  })
}

/** On every answer (§10.7): a page of another site must not embed it. */
const SECURITY = { 'Cross-Origin-Resource-Policy': 'same-origin' }
const JSON_MODE = { 'Content-Type': 'application/json' }

/** The end of the stream, for HEAD and `offset=now`. */
async function tailOf({ app }: Context, { user }: Identity): Promise<string> {
  const { cursor } = await readPage(app, user, { from: 'now' })
  return formatOffset(cursor)
}

async function describe(context: Context, identity: Identity): Promise<Answer> {
  return {
    status: 200,
    headers: { ...SECURITY, ...JSON_MODE, 'Stream-Next-Offset': await tailOf(context, identity) },
    body: '',
    lengthUnknown: true,
  }
}

async function empty(context: Context, identity: Identity, streamCursor: StreamCursor): Promise<Answer> {
  const headers = place(await tailOf(context, identity), true, streamCursor)
  return { status: 200, headers: { ...headers, ...JSON_MODE }, body: '[]' }
}

function place(offset: string, isUpToDate: boolean, streamCursor: StreamCursor): OutgoingHttpHeaders {
  return {
    ...SECURITY,
    'Stream-Next-Offset': offset,
    'Stream-Cursor': streamCursor.value,
    ...(isUpToDate ? { 'Stream-Up-To-Date': 'true' } : {}),
  }
}

function pageAnswer(
  { request, url }: Context,
  { user }: Identity,
  page: {
    readonly to: string
    readonly events: string
    readonly isUpToDate: boolean
    readonly streamCursor: StreamCursor
  },
): Answer {
  // All users have the same URL and may have the same offsets: a tag of one user must not match for another.
  const owner = createHash('sha256').update(user).digest('base64url').slice(0, 12)
  const from = url.searchParams.get('offset') ?? '-1'
  const tag = `"${owner}:${from}:${formatOffset(page.to)}"`
  const headers = { ...place(formatOffset(page.to), page.isUpToDate, page.streamCursor), ETag: tag }
  if (hasTag(request, tag)) return { status: 304, headers }
  return { status: 200, headers: { ...headers, ...JSON_MODE }, body: `[${page.events}]` }
}

async function wait(
  context: Context,
  identity: Identity,
  point: ResumePoint,
  streamCursor: StreamCursor,
): Promise<Answer> {
  const { response } = context
  const registration = await takePlace(context, identity, point)
  const waited: Waited = await waitForEvents(response, registration)
  if (waited.outcome === 'lost') throw lostHistory()
  if (waited.outcome === 'events') {
    const { events, cursor, isUpToDate } = waited
    return pageAnswer(context, identity, { to: cursor, events, isUpToDate, streamCursor })
  }
  if (waited.cursor === undefined) {
    throw new GlimpseError('overloaded', { detail: 'The wait ended before it began.', retryAfter: 1 })
  }
  const headers = place(formatOffset(waited.cursor), true, streamCursor)
  return { status: 204, headers: { ...headers, ...(waited.isFinal ? { 'Stream-Closed': 'true' } : {}) } }
}

async function follow(
  context: Context,
  identity: Identity,
  point: ResumePoint,
  streamCursor: StreamCursor,
): Promise<undefined> {
  const { app, response, headers } = context
  if (response.socket === null) {
    throw new GlimpseError('malformed_request', {
      detail: 'A stream cannot be asked for behind a request that has no answer yet.',
    })
  }
  if (point.from === 'cursor') {
    // The stream has no message for a reset, so a loss must be answered before it begins.
    const { reset } = await readPage(app, identity.user, point, 1)
    if (reset !== undefined) throw lostHistory()
  }
  const registration = await takePlace(context, identity, point)
  beginDurableSse(response, registration, { ...headers, ...SECURITY }, streamCursor)
  return undefined
}
