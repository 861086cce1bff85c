import { createServer, type IncomingMessage, type Server, ServerResponse, STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { GlimpseError } from '../errors.ts'
import { limitSockets } from '../limits/sockets.ts'
import { traceIdsOf } from '../observability/tracing.ts'
import { endSocket } from '../transport/socket.ts'
import { namesEventStream, wantsJson } from './accept.ts'
import { type Answer, answerBytes, keptAlive, sendAnswer } from './answer.ts'
import { boundedBody } from './body.ts'
import { type App, type Context, RequestUrl } from './context.ts'
import { type Conversation, Conversations } from './conversation.ts'
import { corsHeaders, optionsAnswer } from './cors.ts'
import { pauseAnswer } from './pause-stream.ts'
import { problemAnswer } from './problem.ts'
import { hasBody, Request, refuseBadHead } from './request-head.ts'
import { requestIdOf } from './request-id.ts'
import { Routes, type RouteTable, routeTable } from './routes.ts'

/** Probes are not limited, because the load balancer that sends them may have the same address as its users. */
const UNLIMITED: ReadonlySet<string> = new Set(['/livez', '/readyz', '/healthz'])

export interface HttpServer {
  readonly server: Server
  /** Every socket that is not a stream. */
  readonly conversations: Conversations
}

/** An HTTP server with its routes, not yet listening. It uses Node's own http, for streams too. */
export function createHttpServer(app: App, table: RouteTable = routeTable(app.config)): HttpServer {
  const { config } = app
  const routes = new Routes(table)
  const server = createServer({
    IncomingMessage: Request,
    // Ours answers with a problem and checks more (request-head.ts).
    requireHostHeader: false,
    // So that 'drain' comes for every connection that was held up by its outbox.
    highWaterMark: Math.min(16_384, config.outboxMaxBytes),
    maxHeaderSize: config.headerMaxBytes,
    // Node would make and clear a timer for each request. Conversations end idle sockets by their own clock.
    keepAliveTimeout: 0,
    headersTimeout: config.headersTimeoutMs,
    requestTimeout: config.requestTimeoutMs,
    // With the default, half a minute, the two timeouts above would be enforced that late.
    connectionsCheckingInterval: Math.min(1000, config.headersTimeoutMs),
  })
  // Past its own bound Node silently drops fields: a token after it would be ignored, one before it used.
  server.maxHeadersCount = 0
  limitSockets(server, config, app.log, (limit) => app.metrics.limited.inc({ limit }))
  const conversations = new Conversations(server, {
    headersTimeoutMs: config.headersTimeoutMs,
    keepAliveTimeoutMs: config.keepAliveTimeoutMs,
    answerTimeoutMs: config.answerTimeoutMs,
    unsent: config.unsent,
    onLimited: (limit) => app.metrics.limited.inc({ limit }),
    answer: (request, response, conversation) => void answer(app, routes, request, response, conversation),
  })
  const receive = (request: IncomingMessage, response: ServerResponse) => {
    const conversation = conversations.of(request.socket)
    // Requests after a stream, or after a refusal that closes, are ignored (RFC 9112 §9.6).
    if (conversation === undefined) endSocket(request.socket)
    else conversation.receive(request, response)
  }
  server.on('request', receive)
  // RFC 9110 §10.1.1: unknown expectations may be ignored.
  server.on('checkExpectation', receive)
  server.on('upgrade', (request, socket, head) =>
    upgrade(app, routes, request, head, conversations.of(socket as Socket)),
  )
  server.on('clientError', (error, socket) =>
    refuseMalformed(app, error, socket as Socket, conversations.of(socket as Socket)),
  )
  return { server, conversations }
}

/** The response in progress on a socket, by the same internal property that Node's default `clientError` listener uses. */
function answerUnderWay(socket: Duplex): ServerResponse | undefined {
  return (socket as { _httpMessage?: ServerResponse | null })._httpMessage ?? undefined
}

/** Longer answers are refused to clients that do not read their earlier ones; shorter ones fit into the kernel's buffers. */
const LONG_ANSWER_BYTES = 16_384

/** Finds the handler, runs it, and turns errors into problems. Never rejects. */
async function answer(
  app: App,
  routes: Routes,
  request: IncomingMessage,
  response: ServerResponse,
  conversation: Conversation,
  upgradeHead?: Buffer,
): Promise<void> {
  const method = request.method ?? 'GET'
  const url = new RequestUrl(request.url ?? '/')
  const headers = corsHeaders(request, app.config.corsOrigins)
  const span = UNLIMITED.has(url.path) ? undefined : app.tracing?.request(request.headers)
  let route = 'none'
  let status = 200
  let network = ''
  let context: Context | undefined
  try {
    refuseBadHead(request)
    if ((request.url?.length ?? 0) > app.config.urlMaxBytes) {
      throw new GlimpseError('url_too_long', {
        detail: `The URL may hold ${app.config.urlMaxBytes} bytes at most.`,
      })
    }
    network = app.limits.networkOf(request)
    if (!UNLIMITED.has(url.path)) {
      app.limits.count('address_requests', network)
      if (url.path !== '/metrics') app.pressure.admitWork()
    }
    if (method === 'OPTIONS') {
      const options = optionsAnswer(request, app.config.corsOrigins, routes.methodsOf(url.path))
      status = options.status
      sendAnswer(response, options, keptAlive(response, headers, app.config.keepAliveTimeoutMs))
      return
    }
    const match = routes.find(method, url.path)
    route = match.route
    const sizeless = boundedBody(request, app.config.bodyMaxBytes)
    const here: Context = {
      app,
      request,
      response,
      url,
      network,
      params: match.params,
      headers,
      upgradeHead,
      body: sizeless && (await sizeless),
    }
    context = here
    const result = await (span === undefined ? match.handler(here) : span.within(() => match.handler(here)))
    if (result === undefined) {
      conversation.stream()
      return
    }
    status = result.status
    const bytes = answerBytes(result)
    if (bytes.length > LONG_ANSWER_BYTES) conversation.admit(bytes.length, network, here.user)
    // While draining, close keep-alive connections: their idle timeout is longer than the drain.
    if (app.hub.draining) response.shouldKeepAlive = false
    sendAnswer(response, result, keptAlive(response, headers, app.config.keepAliveTimeoutMs), bytes)
  } catch (error) {
    const problem = problemAnswer(error)
    status = problem.status
    app.metrics.problems.inc({ code: error instanceof GlimpseError ? error.code : 'internal' })
    const requestId = requestIdOf(request, app.config.trustProxy)
    const ids = { request_id: requestId, ...(span?.ids ?? traceIdsOf(request.headers)) }
    logProblem(app, { route, ...ids }, status, error)
    // After an ambiguous head it is not certain where the next request begins.
    const closes = error instanceof GlimpseError && error.code === 'malformed_request'
    const refusal = (isEventSource(method, url.path, request) ? pauseOf(error) : undefined) ?? problem
    refuse(request, response, closes, conversation, () =>
      sendAnswer(response, refusal, {
        ...keptAlive(response, headers, app.config.keepAliveTimeoutMs),
        'X-Request-Id': requestId,
      }),
    )
  } finally {
    conversation.answered(network, context?.user)
    app.metrics.requests.inc({ route, status })
    span?.end(method, route, status)
  }
}

/** Whether an EventSource may have sent the request, so that it gives up for good at any status but 200. */
function isEventSource(method: string, path: string, { headers }: IncomingMessage): boolean {
  return (
    method === 'GET' && path === '/events' && !wantsJson(headers.accept) && namesEventStream(headers.accept)
  )
}

function pauseOf(error: unknown): Answer | undefined {
  return error instanceof GlimpseError ? pauseAnswer(error) : undefined
}

/** Answers a refused request. It may still be sending its body, so its connection cannot be used again. */
function refuse(
  request: IncomingMessage,
  response: ServerResponse,
  closes: boolean,
  conversation: Conversation,
  send: () => void,
): void {
  if (response.headersSent) {
    response.destroy()
    return
  }
  // `complete` is false here for requests without a body too, but those have nothing more to send.
  if (closes || (!request.complete && hasBody(request))) {
    response.shouldKeepAlive = false
    conversation.leaveAfterAnswer()
  }
  send()
  request.resume()
}

/** @param where the path's pattern, because the URL may contain a token, and the ids of the request */
function logProblem(
  app: App,
  where: { readonly route: string; readonly request_id: string },
  status: number,
  error: unknown,
): void {
  if (!(error instanceof GlimpseError) || error.code === 'internal') {
    app.metrics.requestFailures.inc()
    const cause = error instanceof GlimpseError ? error.cause : error
    app.log.error({ ...where, err: cause }, 'a request failed unexpectedly')
  } else if (status >= 500)
    app.log.debug({ ...where, code: error.code, err: error.cause }, 'a request was refused')
  else {
    const { field } = error.details
    app.log.trace({ ...where, code: error.code, field, err: error.cause }, 'a request was refused')
  }
}

/**
 * Handles a request for a WebSocket, which has left the HTTP parser; it has no body. Any answer but the upgrade is written through a response of our
 * own and ends the connection.
 */
function upgrade(
  app: App,
  routes: Routes,
  request: IncomingMessage,
  head: Buffer,
  conversation: Conversation | undefined,
): void {
  const { socket } = request
  // Node has removed its own listener with the parser.
  socket.on('error', () => socket.destroy())
  if (conversation === undefined) {
    endSocket(socket)
    return
  }
  // Pipelined after another request: a socket has room for one answer.
  if (!conversation.upgrade()) return
  const response = new ServerResponse(request)
  response.shouldKeepAlive = false
  response.assignSocket(socket)
  response.on('finish', () => conversation.end())
  void answer(app, routes, request, response, conversation, head)
}

/** Answers bytes that Node's parser could not read (RFC 9112), and closes the connection. */
function refuseMalformed(
  app: App,
  error: NodeJS.ErrnoException,
  socket: Socket,
  conversation: Conversation | undefined,
): void {
  if (error.code === 'ECONNRESET') {
    socket.destroy()
    return
  }
  // On a stream the answer would look like an event.
  if (conversation === undefined) {
    endSocket(socket)
    return
  }
  const underWay = answerUnderWay(socket)
  // It is the body of a request that was answered already.
  if (underWay?.headersSent && !underWay.req.complete) {
    conversation.end()
    return
  }
  const code =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? 'headers_too_large'
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? 'request_timeout'
        : 'malformed_request'
  const { status, body } = problemAnswer(new GlimpseError(code))
  app.metrics.problems.inc({ code })
  app.metrics.requests.inc({ route: 'none', status })
  const text = JSON.stringify(body)
  const words =
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nContent-Type: application/problem+json\r\n` +
    `Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n` +
    `Content-Length: ${Buffer.byteLength(text)}\r\nConnection: close\r\n\r\n${text}`
  // Sent before the answer to an earlier request, it would look like that answer.
  if (underWay === undefined || !underWay.req.complete) conversation.end(words)
  else conversation.leaveAfterAnswers(words)
}
