import { NewStoryBody, NewTokenBody, ReactionBody, ReadBody } from '../fields.ts'
import * as answers from './answers.ts'
import { componentSchemas, type JsonObject } from './components.ts'
import { CARRIERS, INFO } from './info.ts'
import { OtherEvent, StoryReacted, StoryViewed } from './messages.ts'
import { DEVELOPMENT_OPERATIONS, OPERATIONS } from './operations.ts'
import { TASKS, tagsOf } from './tasks.ts'

const text = (description: string) => ({ description, required: true, schema: { type: 'string' } })

const COMPONENTS = {
  securitySchemes: {
    bearer: CARRIERS.bearer,
    query: { type: 'apiKey', ...CARRIERS.query },
    ticket: { type: 'apiKey', ...CARRIERS.ticket },
    cookie: { type: 'apiKey', ...CARRIERS.cookie },
  },
  parameters: {
    id: {
      name: 'id',
      in: 'path',
      required: true,
      description: 'The story.',
      schema: { type: 'string', format: 'uuid' },
    },
    connection: {
      name: 'connection',
      in: 'path',
      required: true,
      description: 'The connection.',
      schema: { type: 'string', format: 'uuid' },
    },
    file: { name: 'file', in: 'path', required: true, schema: { type: 'string' } },
    'Last-Event-ID': {
      name: 'Last-Event-ID',
      in: 'header',
      description: 'Resume after this cursor; takes precedence over `last_event_id`.',
      schema: { type: 'string' },
      example: '7f3a9c.42.73475cb',
    },
    last_event_id: {
      name: 'last_event_id',
      in: 'query',
      description:
        'Resume after this cursor; `0`: from the oldest event kept. Left out: from now on. May be spelt `lastEventId`.',
      schema: { type: 'string' },
      example: '7f3a9c.42.73475cb',
    },
    pings: {
      name: 'pings',
      in: 'query',
      description: '`on`: the service answers the client’s `ping` messages.',
      schema: { type: 'string', enum: ['on'] },
    },
    after: {
      name: 'after',
      in: 'query',
      description: 'The page after this cursor; `0`: from the oldest event kept. Left out: from now on.',
      schema: { type: 'string' },
      example: '7f3a9c.42.73475cb',
    },
    offset: {
      name: 'offset',
      in: 'query',
      description:
        '`-1`, the default: from the oldest event kept; `now`: from now on; or the last Stream-Next-Offset. Live reads need it.',
      schema: { type: 'string' },
      example: '7f3a9c.0000000000000042.73475cb',
    },
    live: {
      name: 'live',
      in: 'query',
      description: 'Wait for new events.',
      schema: { type: 'string', enum: ['long-poll', 'sse'] },
    },
    cursor: {
      name: 'cursor',
      in: 'query',
      description: 'The last Stream-Cursor.',
      schema: { type: 'string' },
    },
    'If-None-Match': {
      name: 'If-None-Match',
      in: 'header',
      description: 'The ETag of a page; 304 if the page still has it.',
      schema: { type: 'string' },
    },
    limit: {
      name: 'limit',
      in: 'query',
      description: 'The most events that a page may hold.',
      schema: { type: 'integer', minimum: 1, maximum: 1000, default: 100 },
    },
  },
  headers: {
    Location: text('The path of what was created.'),
    Allow: text('The methods that the path has.'),
    'WWW-Authenticate': text(
      'The scheme to use, Bearer, and, if a token was sent, what is wrong with it (RFC 6750 §3).',
    ),
    'Retry-After': {
      description: 'Seconds to wait before trying again.',
      required: true,
      schema: { type: 'integer', minimum: 0 },
    },
    ETag: text('Identifies the answer, for `If-None-Match`.'),
    'Stream-Next-Offset': text('Where the next read continues.'),
    'Stream-Cursor': text('To be sent back as `cursor`.'),
    Upgrade: text('websocket'),
    'Sec-WebSocket-Version': text('13'),
  },
}

/** The HTTP interface as OpenAPI 3.1, with or without the routes that exist only outside production. */
export function openApiDocument({ production }: { readonly production: boolean }): JsonObject {
  const operations = production ? OPERATIONS : { ...OPERATIONS, ...DEVELOPMENT_OPERATIONS }
  const { Token, ...always } = answers
  return {
    openapi: '3.1.0',
    info: {
      ...INFO,
      description:
        `${INFO.description} Every path also answers OPTIONS with the methods it has, and HEAD as GET, the streams excepted. ` +
        'Refusals are application/problem+json with a stable `type`.',
    },
    servers: [{ url: '/' }],
    tags: TASKS.map(({ name, description }) => ({ name, description })),
    paths: pathsOf(operations),
    components: {
      ...COMPONENTS,
      schemas: componentSchemas(
        {
          NewStoryBody,
          ReactionBody,
          ReadBody,
          ...always,
          ...(production ? {} : { NewTokenBody, Token }),
          StoryViewed,
          StoryReacted,
          OtherEvent,
        },
        'draft-2020-12',
      ),
    },
  }
}

/** `METHOD /path` → paths, each with its operations, their tags, and the parameters that its pattern names. */
function pathsOf(operations: Readonly<Record<string, JsonObject>>): JsonObject {
  const paths: Record<string, JsonObject> = {}
  for (const [route, operation] of Object.entries(operations)) {
    const [method = '', path = ''] = route.split(' ')
    const names = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name)
    const parameters = names.map((name) => ({ $ref: `#/components/parameters/${name}` }))
    paths[path] = {
      ...(parameters.length === 0 ? {} : { parameters }),
      ...paths[path],
      [method.toLowerCase()]: { tags: tagsOf(route), ...operation },
    }
  }
  return paths
}
