import type { CloseReason } from '../../event.ts'
import { CLOSES } from '../../hub/connection.ts'
import { CLOSE_CODES } from '../../transport/websocket.ts'
import { componentSchemas, type JsonObject, schemaRef } from './components.ts'
import { EXAMPLES } from './examples.ts'
import { CARRIERS, INFO } from './info.ts'
import {
  Auth,
  CLOSE_REASONS,
  OtherEvent,
  Ping,
  StoryReacted,
  StoryViewed,
  StreamClose,
  StreamOpen,
  StreamPong,
  StreamRead,
  StreamReset,
} from './messages.ts'

/** From the service, over both channels. */
const SENT = { StoryViewed, StoryReacted, OtherEvent, StreamOpen, StreamRead, StreamReset, StreamClose }
/** From the service, over WebSocket alone. */
const ANSWERED = { StreamPong }
/** From the client, over WebSocket. */
const RECEIVED = { Auth, Ping }

/** The close frames; those without a reason of ours are from RFC 6455 §7.4.1. */
const CLOSE_FRAMES = [
  ...(Object.keys(CLOSE_CODES) as CloseReason[]).map((reason) => ({
    code: CLOSE_CODES[reason],
    reason,
    reconnect: CLOSES[reason].reconnect,
    description: CLOSE_REASONS[reason],
  })),
  {
    code: 1008,
    reconnect: false,
    description: 'The client sent a token of another user, or too many messages.',
  },
  {
    code: 1009,
    reconnect: true,
    description:
      'The client sent a message of more than MESSAGE_MAX_BYTES, 16 KiB unless configured otherwise.',
  },
]

const message = (name: keyof typeof EXAMPLES) => ({
  name: EXAMPLES[name].type,
  contentType: 'application/json',
  payload: schemaRef(name),
  examples: [{ payload: EXAMPLES[name] }],
})
const refsTo = (path: string, names: readonly string[]) =>
  names.map((name) => ({ $ref: `#/${path}/${name}` }))
const messagesOf = (names: readonly string[]) =>
  Object.fromEntries(names.map((name) => [name, { $ref: `#/components/messages/${name}` }]))

const RESUME = {
  type: 'string',
  description: 'Resume after this cursor; 0: from the oldest event kept. Left out: from now on.',
}
const PINGS = {
  type: 'string',
  enum: ['on'],
  description: 'The service answers the client’s `ping` messages.',
}
const TICKET = { type: 'string', description: CARRIERS.ticket.description }
const TOKEN = { type: 'string', description: CARRIERS.query.description }
const SERVER = {
  host: '{host}',
  variables: { host: { default: 'localhost:8080', description: 'The address of the service.' } },
  security: refsTo('components/securitySchemes', Object.keys(CARRIERS)),
}

const SSE_DESCRIPTION =
  'Server-Sent Events. Each frame’s `event` is the message’s type, its `data` the message on one line, its `id` the ' +
  'cursor where the message has one: `id` of an event, `data.cursor` of a control message. The first line, `retry`, ' +
  'says how long a bare EventSource waits before it reconnects; a comment comes at each heartbeat. The header ' +
  '`Last-Event-ID` goes before the parameter `last_event_id`. Where the service cannot open the stream for now, a request ' +
  'that accepts text/event-stream by name gets a stream of one message, `stream.close`, in place of 429 and 503.'

const WS_DESCRIPTION =
  'WebSocket, one message a text frame. The service pings, and drops a peer that does not answer. Close codes:\n\n' +
  CLOSE_FRAMES.map(({ code, description }) => `- ${code}: ${description}`).join('\n')

/** The streams as AsyncAPI 3.0: a channel for each transport, with the same messages. */
export function asyncApiDocument(): JsonObject {
  const sent = Object.keys(SENT)
  const sentOverWebSocket = [...sent, ...Object.keys(ANSWERED)]
  const received = Object.keys(RECEIVED)
  const parameters = { last_event_id: RESUME, ticket: TICKET, token: TOKEN }
  const query = { type: 'object', properties: parameters }
  const webSocketQuery = { type: 'object', properties: { ...parameters, pings: PINGS } }
  return {
    asyncapi: '3.0.0',
    info: INFO,
    defaultContentType: 'application/json',
    servers: {
      http: { ...SERVER, protocol: 'http', description: 'Or https, if a proxy terminates TLS.' },
      websocket: { ...SERVER, protocol: 'ws', description: 'Or wss, if a proxy terminates TLS.' },
    },
    channels: {
      events: {
        address: '/events',
        description: SSE_DESCRIPTION,
        servers: refsTo('servers', ['http']),
        messages: messagesOf(sent),
      },
      ws: {
        address: '/ws',
        description: WS_DESCRIPTION,
        servers: refsTo('servers', ['websocket']),
        messages: messagesOf([...sentOverWebSocket, ...received]),
        bindings: { ws: { method: 'GET', query: webSocketQuery, bindingVersion: '0.1.0' } },
        'x-close-codes': CLOSE_FRAMES,
      },
    },
    operations: {
      sendEvents: {
        action: 'send',
        channel: { $ref: '#/channels/events' },
        messages: refsTo('channels/events/messages', sent),
        bindings: { http: { method: 'GET', query, bindingVersion: '0.3.0' } },
      },
      sendWebSocketMessages: {
        action: 'send',
        channel: { $ref: '#/channels/ws' },
        messages: refsTo('channels/ws/messages', sentOverWebSocket),
      },
      receiveWebSocketMessages: {
        action: 'receive',
        channel: { $ref: '#/channels/ws' },
        messages: refsTo('channels/ws/messages', received),
        description: 'The service ignores any other message, and `ping` without `?pings=on`.',
      },
    },
    components: {
      securitySchemes: {
        bearer: CARRIERS.bearer,
        query: { type: 'httpApiKey', ...CARRIERS.query },
        ticket: { type: 'httpApiKey', ...CARRIERS.ticket },
        cookie: { type: 'httpApiKey', ...CARRIERS.cookie },
      },
      messages: Object.fromEntries(
        (Object.keys(EXAMPLES) as (keyof typeof EXAMPLES)[]).map((name) => [name, message(name)]),
      ),
      schemas: componentSchemas({ ...SENT, ...ANSWERED, ...RECEIVED }, 'draft-7'),
    },
  }
}
