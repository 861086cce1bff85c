import { NewStoryBody, NewTokenBody, ReactionBody, ReadBody } from '../fields.ts'
import * as answers from './answers.ts'
import { componentSchemas, type JsonObject } from './components.ts'
import { CARRIERS, INFO } from './info.ts'
import { OtherEvent, StoryReacted, StoryViewed } from './messages.ts'
import { DEVELOPMENT_OPERATIONS, OPERATIONS } from './operations.ts'

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
      description: 'Resume after this cursor; goes before `last_event_id`.',
      schema: { type: 'string' },
      example: '7f3a9c.42.73475cb',
    },
    last_event_id: {
      name: 'last_event_id',
      in: 'query',
      description:
        'Resume after this cursor; `0`: from the oldest event kept. Not given: from now on. May be spelt `lastEventId`.',
      schema: { type: 'string' },
      example: '7f3a9c.42.73475cb',
    },
    pings: {
      name: 'pings',
      in: 'query',
      description: '`on`: the client’s `ping` messages are answered.',
      schema: { type: 'string', enum: ['on'] },
    },
    after: {
      name: 'after',
      in: 'query',
      description: 'The page after this cursor; `0`: from the oldest event kept. Not given: from now on.',
      schema: { type: 'string' },
      example: '7f3a9c.42.73475cb',
    },
    offset: {
      name: 'offset',
      in: 'query',
      description:
        '`-1`: from the oldest event kept, as without it; `now`: from now on; or what Stream-Next-Offset said. Live reads need it.',
      schema: { type: 'string' },
      example: '7f3a9c.0000000000000042.73475cb',
    },
    live: {
      name: 'live',
      in: 'query',
      description: 'Wait for what comes.',
      schema: { type: 'string', enum: ['long-poll', 'sse'] },
    },
    cursor: {
      name: 'cursor',
      in: 'query',
      description: 'What Stream-Cursor said last.',
      schema: { type: 'string' },
    },
    'If-None-Match': {
      name: 'If-None-Match',
      in: 'header',
      description: 'The ETag of a page; 304 where it would be the same.',
      schema: { type: 'string' },
    },
    limit: {
      name: 'limit',
      in: 'query',
      description: 'The most events a page may hold.',
      schema: { type: 'integer', minimum: 1, maximum: 1000, default: 100 },
    },
  },
  headers: {
    Location: text('The path of what was created.'),
    Allow: text('The methods that the path has.'),
    'WWW-Authenticate': text(
      'The scheme that would do, Bearer, and for a token that was given what is wrong with it (RFC 6750 §3).',
    ),
    'Retry-After': {
      description: 'Seconds after which trying again makes sense.',
      required: true,
      schema: { type: 'integer', minimum: 0 },
    },
    ETag: text('Names what was answered, for `If-None-Match`.'),
    'Stream-Next-Offset': text('Where the next read continues.'),
    'Stream-Cursor': text('To be sent back as `cursor`.'),
    Upgrade: text('websocket'),
    'Sec-WebSocket-Version': text('13'),
  },
}

/** The HTTP interface as OpenAPI 3.1, with the routes there are outside production or without them. */
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

/** `METHOD /path` → paths, each with its operations and the parameters that its pattern names. */
function pathsOf(operations: Readonly<Record<string, JsonObject>>): JsonObject {
  const paths: Record<string, JsonObject> = {}
  for (const [route, operation] of Object.entries(operations)) {
    const [method = '', path = ''] = route.split(' ')
    const names = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name)
    const parameters = names.map((name) => ({ $ref: `#/components/parameters/${name}` }))
    paths[path] = {
      ...(parameters.length === 0 ? {} : { parameters }),
      ...paths[path],
      [method.toLowerCase()]: operation,
    }
  }
  return paths
}
