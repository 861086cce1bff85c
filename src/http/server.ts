import { createServer, type IncomingMessage, type Server, ServerResponse, STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { GlimpseError } from '../errors.ts'
import { limitSockets } from '../limits/sockets.ts'
import { type Answer, sendAnswer } from './answer.ts'
import { type App, type Context, RequestUrl } from './context.ts'
import { corsHeaders, optionsAnswer } from './cors.ts'
import { asksForEventStream, pauseAnswer } from './pause-stream.ts'
import { problemAnswer } from './problem.ts'
import { refuseBadHead } from './request-head.ts'
import { Routes, type RouteTable, routeTable } from './routes.ts'
import { wantsJson } from './streams.ts'

/** What says whether an instance lives must not fall to a limit: the balancer that asks may share its users' address. */
const UNLIMITED: ReadonlySet<string> = new Set(['/livez', '/readyz', '/healthz'])

/** An HTTP server with its routes, not yet listening. It stands on Node's own http, streams included. */
export function createHttpServer(app: App, table: RouteTable = routeTable(app.config)): Server {
  const { config } = app
  const routes = new Routes(table)
  const server = createServer({
    // Ours answers as the rest of the service does, and looks at more (head.ts).
    requireHostHeader: false,
    // So that 'drain' is certain to come for every connection that was held up for its outbox.
    highWaterMark: Math.min(16_384, config.outboxMaxBytes),
    maxHeaderSize: config.headerMaxBytes,
    keepAliveTimeout: config.keepAliveTimeoutMs,
    headersTimeout: config.headersTimeoutMs,
    requestTimeout: config.requestTimeoutMs,
    // Left at its half a minute, the two above would be enforced that late.
    connectionsCheckingInterval: Math.min(1000, config.headersTimeoutMs),
  })
  // Who asks and then takes no byte of the answer is dropped. A stream switches it off for its socket: the hub sees to it.
  server.timeout = Math.max(config.requestTimeoutMs, config.stallTimeoutMs)
  limitSockets(server, config, () => app.metrics.limited.inc({ limit: 'address_sockets' }))
  const receive = (request: IncomingMessage, response: ServerResponse) => {
    if (!isLastAnswered(request.socket)) void answer(app, routes, request, response)
    else if (!request.socket.writableEnded) request.socket.destroySoon()
  }
  server.on('request', receive)
  // RFC 9110 §10.1.1: an expectation that we don't know may be ignored.
  server.on('checkExpectation', receive)
  server.on('upgrade', (request, socket, head) => upgrade(app, routes, request, socket, head))
  server.on('clientError', (error, socket) => refuseMalformed(app, error, socket))
  return server
}

/**
 * Marks connections whose last answer has begun: a stream, or a refusal that closes. What still comes on one must not be
 * carried out (RFC 9112 §9.6), nor wait, behind a stream for ever, in our memory. (Each garbage collection goes through
 * a WeakSet of ten thousand.)
 */
const LAST_ANSWERED = Symbol('last answered')

function isLastAnswered(socket: Duplex & { [LAST_ANSWERED]?: true }): boolean {
  return socket[LAST_ANSWERED] === true
}

function markLastAnswered(socket: Duplex & { [LAST_ANSWERED]?: true }): void {
  socket[LAST_ANSWERED] = true
}

/** The answer under way on a socket. This is Node's own mark, by which its default `clientError` listener goes as well. */
function answerUnderWay(socket: Duplex): ServerResponse | undefined {
  return (socket as { _httpMessage?: ServerResponse | null })._httpMessage ?? undefined
}

/** Finds the handler, runs it, and turns whatever it throws into a problem. Never rejects. */
async function answer(
  app: App,
  routes: Routes,
  request: IncomingMessage,
  response: ServerResponse,
  upgradeHead?: Buffer,
): Promise<void> {
  const method = request.method ?? 'GET'
  const url = new RequestUrl(request.url ?? '/')
  const headers = corsHeaders(request, app.config.corsOrigins)
  const span = UNLIMITED.has(url.path) ? undefined : app.tracing?.request(request.headers)
  let route = 'none'
  let status = 200
  try {
    refuseBadHead(request)
    if ((request.url?.length ?? 0) > app.config.urlMaxBytes) {
      throw new GlimpseError('url_too_long', {
        detail: `The URL may hold ${app.config.urlMaxBytes} bytes at most.`,
      })
    }
    const network = app.limits.networkOf(request)
    if (!UNLIMITED.has(url.path)) app.limits.count('address_requests', network)
    if (method === 'OPTIONS') {
      const options = optionsAnswer(request, app.config.corsOrigins, routes.methodsOf(url.path))
      status = options.status
      sendAnswer(response, options, headers)
      return
    }
    const match = routes.find(method, url.path)
    route = match.route
    const context: Context = {
      app,
      request,
      response,
      url,
      network,
      params: match.params,
      headers,
      upgradeHead,
    }
    const result = await (span === undefined
      ? match.handler(context)
      : span.within(() => match.handler(context)))
    if (result === undefined) {
      markLastAnswered(request.socket)
      return
    }
    status = result.status
    // An instance that stops can't wait until an idle keep-alive connection times out.
    if (app.hub.draining) response.shouldKeepAlive = false
    sendAnswer(response, result, headers)
  } catch (error) {
    const problem = problemAnswer(error)
    status = problem.status
    logProblem(app, route, status, error)
    // After a head that can be read in two ways it is anybody's guess where the next request begins.
    const closes = error instanceof GlimpseError && error.code === 'malformed_request'
    const refusal = (isEventSource(method, url.path, request) ? pauseOf(error) : undefined) ?? problem
    refuse(request, response, closes, () => sendAnswer(response, refusal, headers))
  } finally {
    app.metrics.requests.inc({ route, status })
    span?.end(method, route, status)
  }
}

/** A request for the stream that an EventSource may have sent, and so cannot be told a status. */
function isEventSource(method: string, path: string, { headers }: IncomingMessage): boolean {
  return method === 'GET' && path === '/events' && !wantsJson(headers.accept) && asksForEventStream(headers)
}

function pauseOf(error: unknown): Answer | undefined {
  return error instanceof GlimpseError ? pauseAnswer(error) : undefined
}

/** A refused request may still be sending its body: the connection can't be used for another. */
function refuse(request: IncomingMessage, response: ServerResponse, closes: boolean, send: () => void): void {
  if (response.headersSent) {
    response.destroy()
    return
  }
  // A request without a body is not complete before its handler was called either, and has nothing more to send.
  if (closes || (!request.complete && hasBody(request))) {
    response.shouldKeepAlive = false
    markLastAnswered(request.socket)
  }
  send()
  request.resume()
}

/** The path's pattern only: the URL itself may hold a token. */
function logProblem(app: App, route: string, status: number, error: unknown): void {
  if (!(error instanceof GlimpseError) || error.code === 'internal') {
    app.metrics.requestFailures.inc()
    const cause = error instanceof GlimpseError ? error.cause : error
    app.log.error({ route, err: cause }, 'a request failed unexpectedly')
  } else if (status >= 500)
    app.log.debug({ route, code: error.code, err: error.cause }, 'a request was refused')
  else app.log.trace({ route, code: error.code, field: error.details.field }, 'a request was refused')
}

/**
 * A request with `Upgrade` has left the HTTP parser: its answer, unless it is the upgrade, is written through a response
 * of our own and ends the connection. Upgrades to anything but WebSocket are answered as if they had not been asked for
 * (RFC 9110 §7.8 lets a server ignore them; curl --http2 sends one with every request).
 */
function upgrade(app: App, routes: Routes, request: IncomingMessage, socket: Duplex, head: Buffer): void {
  // Sent without waiting for the answer to the request before it: a socket has room for one answer.
  if (answerUnderWay(socket) !== undefined) {
    socket.destroy()
    return
  }
  const response = new ServerResponse(request)
  response.shouldKeepAlive = false
  response.assignSocket(socket as Socket)
  // Half-open, a refused peer could keep its socket for as long as it likes.
  response.on('finish', () => (socket as Socket).destroySoon())
  socket.on('error', () => socket.destroy())
  if (hasBody(request)) {
    // It went with the parser: carried out without it, the request would be another one.
    const detail = 'A request with a body cannot ask for an upgrade.'
    const problem = problemAnswer(new GlimpseError('malformed_request', { detail }))
    app.metrics.requests.inc({ route: 'none', status: problem.status })
    sendAnswer(response, problem)
    return
  }
  const toWebSocket = request.headers.upgrade?.toLowerCase() === 'websocket'
  void answer(app, routes, request, response, toWebSocket ? head : undefined)
}

function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
}

/** What Node's parser could not read (RFC 9112): answered as plainly as it deserves, and closed. */
function refuseMalformed(app: App, error: NodeJS.ErrnoException, socket: Duplex): void {
  // Before the answer to an earlier request this one would be taken for it, after a stream's beginning for its events.
  const earlier = answerUnderWay(socket)
  const disturbs = earlier !== undefined && (earlier.headersSent || earlier.req.complete)
  if (error.code === 'ECONNRESET' || !socket.writable || disturbs) {
    socket.destroy()
    return
  }
  const code =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? 'headers_too_large'
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? 'request_timeout'
        : 'malformed_request'
  const { status, body } = problemAnswer(new GlimpseError(code))
  app.metrics.requests.inc({ route: 'none', status })
  const text = JSON.stringify(body)
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nContent-Type: application/problem+json\r\n` +
      `Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n` +
      `Content-Length: ${Buffer.byteLength(text)}\r\nConnection: close\r\n\r\n${text}`,
  )
}
