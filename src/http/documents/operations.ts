import type { ErrorCode } from '../../errors.ts'
import { type JsonObject, schemaRef } from './components.ts'
import { problemResponses } from './problems.ts'

/** Refusals of authentication; `unavailable` while the keys to verify with can't be fetched. */
const CALLER: readonly ErrorCode[] = ['unauthorized', 'origin_not_allowed', 'unavailable']
const BODY: readonly ErrorCode[] = ['malformed_json', 'invalid_field', 'not_json', 'encoded_body']
/** A path with a parameter: one that is too long matches no route. */
const ONE_STORY: readonly ErrorCode[] = ['not_found', 'unknown_story']
const DATABASE: readonly ErrorCode[] = ['busy', 'unavailable', 'overloaded']
const STREAM: readonly ErrorCode[] = [...CALLER, 'draining', 'full']

const CALLER_SECURITY = [{ bearer: [] }, { cookie: [] }]
/** Browsers open streams without headers, so only there the query may have a token or a ticket. */
const STREAM_SECURITY = [{ bearer: [] }, { ticket: [] }, { query: [] }, { cookie: [] }]

const parameter = (name: string) => ({ $ref: `#/components/parameters/${name}` })
const header = (name: string) => ({ $ref: `#/components/headers/${name}` })
const json = (schema: string) => ({ 'application/json': { schema: schemaRef(schema) } })
const ok = (description: string, content: JsonObject) => ({ 200: { description, content } })
const body = (schema: string, required: boolean) => ({
  requestBody: { required, content: json(schema) },
})
const plain = (operationId: string, summary: string, responses: JsonObject) => ({
  operationId,
  summary,
  security: [],
  responses: { ...responses, ...problemResponses([]) },
})
const ofCaller = (
  operationId: string,
  summary: string,
  responses: JsonObject,
  codes: readonly ErrorCode[],
) => ({
  operationId,
  summary,
  security: CALLER_SECURITY,
  responses: { ...responses, ...problemResponses([...CALLER, ...codes]) },
})
const ofStory = (operationId: string, summary: string, responses: JsonObject, codes: readonly ErrorCode[]) =>
  ofCaller(operationId, summary, responses, [...DATABASE, ...codes])

const EXAMPLE_STREAM = [
  'retry: 2000',
  '',
  'id: 7f3a9c.41.3d914f9',
  'event: stream.open',
  'data: {"type":"stream.open","data":{"cursor":"7f3a9c.41.3d914f9","oldest":1,"resumed":false,"heartbeat_ms":15000,"read":"7f3a9c.41.3d914f9","unread":0}}',
  '',
  '',
].join('\n')

const EVENTS = {
  type: 'array',
  items: { anyOf: ['StoryViewed', 'StoryReacted', 'OtherEvent'].map(schemaRef) },
}
const TAGGED = { ETag: header('ETag') }
const PLACE = {
  'Stream-Next-Offset': header('Stream-Next-Offset'),
  'Stream-Cursor': header('Stream-Cursor'),
}
const TEXT = { schema: { type: 'string' } }
const NO_CONTENT = { 204: { description: 'Done, or there was nothing to do.' } }

/** Each route as an OpenAPI operation, by `METHOD /path` as in the route table, with `{id}` for `:id`. */
export const OPERATIONS: Readonly<Record<string, JsonObject>> = {
  'POST /stories': {
    ...ofStory(
      'createStory',
      'Publish a story; its author is the caller.',
      {
        201: {
          description: 'The story.',
          headers: { Location: header('Location') },
          content: json('Story'),
        },
      },
      BODY,
    ),
    ...body('NewStoryBody', false),
  },
  'PUT /stories/{id}': {
    ...ofStory(
      'putStory',
      'Publish a story under an id of the caller’s, a UUID. The same request again posts no second story.',
      {
        200: { description: 'The caller posted the very same story before.', content: json('Story') },
        201: {
          description: 'The story.',
          headers: { Location: header('Location') },
          content: json('Story'),
        },
      },
      [...BODY, 'not_found', 'story_exists', 'expired_story'],
    ),
    ...body('NewStoryBody', false),
  },
  'GET /stories/{id}': ofStory('readStory', 'A story with its tallies.', ok('The story.', json('Story')), [
    ...ONE_STORY,
    'expired_story',
  ]),
  'DELETE /stories/{id}': ofStory('deleteStory', 'Remove a story; only its author may.', NO_CONTENT, [
    ...ONE_STORY,
    'forbidden',
  ]),
  'POST /stories/{id}/view': ofStory(
    'viewStory',
    'Record that the caller viewed the story; answered after the commit. The first view makes an event.',
    ok('The view, or the earlier one of the same caller.', json('RecordedView')),
    [...ONE_STORY, 'expired_story'],
  ),
  'POST /stories/{id}/reactions': {
    ...ofStory(
      'reactToStory',
      'React with one emoji, which replaces the caller’s earlier one. A change makes an event.',
      ok('The reaction, or the same one from before.', json('RecordedReaction')),
      [...BODY, ...ONE_STORY, 'expired_story'],
    ),
    ...body('ReactionBody', true),
  },
  'DELETE /stories/{id}/reactions': ofStory(
    'takeReactionBack',
    'Remove the caller’s reaction. It makes no event.',
    NO_CONTENT,
    [...ONE_STORY, 'expired_story'],
  ),
  'PUT /me/read': {
    operationId: 'markRead',
    summary:
      'Mark everything up to a cursor as read. The mark never moves back; all of the caller’s open streams get `stream.read`.',
    security: CALLER_SECURITY,
    ...body('ReadBody', true),
    responses: {
      ...ok('The mark as it is now.', json('ReadPosition')),
      ...problemResponses([...CALLER, ...DATABASE, ...BODY, 'foreign_cursor', 'overloaded']),
    },
  },
  'POST /tickets': ofCaller(
    'createTicket',
    'A ticket, which stands for the caller’s token in the URL of one stream, on any instance.',
    { 201: { description: 'The ticket.', content: json('Ticket') } },
    DATABASE,
  ),
  'GET /events': {
    operationId: 'getEvents',
    summary: 'The caller’s events: a stream, or one page of it if Accept asks for application/json.',
    description:
      'The stream’s messages are described in /asyncapi.json. `after` and `limit` are for pages, ' +
      '`Last-Event-ID` and `last_event_id` for the stream. If Accept names text/event-stream, 429 and 503 are ' +
      'replaced by a stream of one message, `stream.close`, because a browser’s EventSource gives up at any other status.',
    security: STREAM_SECURITY,
    parameters: ['Last-Event-ID', 'last_event_id', 'after', 'limit'].map(parameter),
    responses: {
      200: {
        description: 'Server-Sent Events until one side ends them, or a page.',
        content: {
          'text/event-stream': { ...TEXT, example: EXAMPLE_STREAM },
          ...json('PollPage'),
        },
      },
      ...problemResponses([...STREAM, 'invalid_field', 'overloaded']),
    },
  },
  'GET /ws': {
    operationId: 'openWebSocket',
    summary: 'The caller’s events over WebSocket (RFC 6455).',
    description: 'Messages and close codes are described in /asyncapi.json.',
    security: STREAM_SECURITY,
    parameters: ['last_event_id', 'pings'].map(parameter),
    responses: {
      101: { description: 'The WebSocket is open. Refusals are plain HTTP answers instead of it.' },
      ...problemResponses([...STREAM, 'upgrade_required']),
    },
  },
  'GET /me/stream': {
    operationId: 'readStream',
    summary:
      'The caller’s events by the read side of the Durable Streams protocol, version 1.0, in JSON mode.',
    description:
      'A page after `offset`; with `live=long-poll` it waits for one heartbeat at most if there is none; with `live=sse` a ' +
      'stream. HEAD gives the offset of the end. The protocol: https://github.com/durable-streams/durable-streams.',
    security: CALLER_SECURITY,
    parameters: ['offset', 'live', 'cursor', 'If-None-Match'].map(parameter),
    responses: {
      200: {
        description: 'A page of events, with these headers, or Server-Sent Events until one side ends them.',
        headers: { ...PLACE, ...TAGGED },
        content: { 'application/json': { schema: EVENTS }, 'text/event-stream': TEXT },
      },
      204: {
        description: 'Nothing happened while the long poll waited.',
        headers: PLACE,
      },
      304: {
        description: 'The page still has this ETag.',
        headers: { ...PLACE, ...TAGGED },
      },
      ...problemResponses([...CALLER, ...DATABASE, 'draining', 'full', 'invalid_field', 'lost_history']),
    },
  },
  'GET /me/connections': ofCaller(
    'listConnections',
    'The caller’s connections to all instances, the oldest first.',
    ok('The connections.', json('Connections')),
    DATABASE,
  ),
  'DELETE /me/connections/{connection}': ofCaller(
    'closeConnection',
    'End one of the caller’s connections, on any instance. Its client is told not to reconnect.',
    { 204: { description: 'The connection ends: at once on this instance, within moments on another.' } },
    ['not_found', 'unknown_connection', ...DATABASE],
  ),
  'GET /livez': plain('getLive', 'Whether the process answers.', ok('The process answers.', json('Live'))),
  'GET /healthz': plain('getHealth', 'The same as /livez.', ok('The process answers.', json('Live'))),
  'GET /readyz': plain('getReady', 'Whether an event sent now would arrive.', {
    ...ok('An event would arrive.', json('Ready')),
    503: {
      description: 'It would not arrive, with the reasons.',
      headers: { 'Retry-After': header('Retry-After') },
      content: json('NotReady'),
    },
  }),
  'GET /metrics': plain('getMetrics', 'Metrics for Prometheus.', ok('Text format.', { 'text/plain': TEXT })),
  'GET /openapi.json': plain(
    'getOpenApi',
    'This document.',
    ok('OpenAPI 3.1.', { 'application/json': { schema: { type: 'object' } } }),
  ),
  'GET /asyncapi.json': plain(
    'getAsyncApi',
    'The streams and their messages.',
    ok('AsyncAPI 3.0.', { 'application/json': { schema: { type: 'object' } } }),
  ),
  'GET /docs': plain('getDocs', 'Both documents as a page to read.', ok('The page.', { 'text/html': TEXT })),
  'GET /client.js': {
    ...plain(
      'getClient',
      'The client as one module, for pages without a bundler. Any page may import it.',
      {},
    ),
    responses: {
      200: { description: 'The module.', headers: TAGGED, content: { 'text/javascript': TEXT } },
      304: { description: 'The module still has the ETag of `If-None-Match`.', headers: TAGGED },
      ...problemResponses(['not_found']),
    },
  },
  'GET /client.js.map': {
    ...plain('getClientSourceMap', 'The source map of that module.', {}),
    responses: {
      200: {
        description: 'The map.',
        headers: TAGGED,
        content: { 'application/json': { schema: { type: 'object' } } },
      },
      304: { description: 'The map still has the ETag of `If-None-Match`.', headers: TAGGED },
      ...problemResponses(['not_found']),
    },
  },
  'GET /': plain('getConsole', 'A page to try the service on.', ok('The page.', { 'text/html': TEXT })),
  'GET /console/client/{file}': {
    ...plain('getConsoleClientFile', 'A module of the client that the page uses.', {}),
    responses: {
      ...ok('The module.', { 'text/javascript': TEXT }),
      ...problemResponses(['not_found']),
    },
  },
  'GET /console/{file}': {
    ...plain('getConsoleFile', 'A file of that page.', {}),
    responses: {
      ...ok('The file.', {
        'text/html': TEXT,
        'text/css': TEXT,
        'text/javascript': TEXT,
        'image/svg+xml': TEXT,
      }),
      ...problemResponses(['not_found']),
    },
  },
}

/** Routes that exist outside production only. */
export const DEVELOPMENT_OPERATIONS: typeof OPERATIONS = {
  'POST /dev/tokens': {
    operationId: 'createToken',
    summary: 'A token for any user, to try the service with. It does not exist in production.',
    security: [],
    ...body('NewTokenBody', true),
    responses: {
      ...ok('The token.', json('Token')),
      // Where tokens come from the issuer behind JWKS_URL, this service can sign none.
      ...problemResponses([...BODY, 'not_found', 'host_not_allowed', 'origin_not_allowed']),
    },
  },
}
