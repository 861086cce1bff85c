import type { ErrorCode } from '../../errors.ts'
import { PROBLEMS } from '../problem.ts'
import { type JsonObject, schemaRef } from './components.ts'

const header = (name: string) => ({ $ref: `#/components/headers/${name}` })

/** Headers that a refusal always has, by status. */
const HEADERS: Readonly<Record<number, JsonObject>> = {
  401: { 'WWW-Authenticate': header('WWW-Authenticate') },
  405: { Allow: header('Allow') },
  426: { Upgrade: header('Upgrade'), 'Sec-WebSocket-Version': header('Sec-WebSocket-Version') },
  429: { 'Retry-After': header('Retry-After') },
  503: { 'Retry-After': header('Retry-After') },
}

/** Refusals that any request may get. */
const EVERYWHERE: readonly ErrorCode[] = [
  'malformed_request',
  'method_not_allowed',
  'request_timeout',
  'body_too_large',
  'url_too_long',
  'too_many_requests',
  'headers_too_large',
  'internal',
]

/** The refusals of an operation as its `responses`: one for each status, naming the codes behind it. */
export function problemResponses(codes: readonly ErrorCode[]): JsonObject {
  const byStatus = new Map<number, ErrorCode[]>()
  for (const code of new Set([...codes, ...EVERYWHERE])) {
    const { status } = PROBLEMS[code]
    byStatus.set(status, [...(byStatus.get(status) ?? []), code])
  }
  return Object.fromEntries([...byStatus].map(([status, together]) => [status, response(status, together)]))
}

function response(status: number, codes: readonly ErrorCode[]): JsonObject {
  const headers = HEADERS[status]
  return {
    description: `${codes.map((code) => PROBLEMS[code].title).join('; ')}.`,
    ...(headers === undefined ? {} : { headers }),
    content: {
      'application/problem+json': {
        schema: {
          allOf: [schemaRef('Problem')],
          properties: {
            type: { enum: codes.map((code) => `urn:glimpse:problem:${code}`) },
            status: { const: status },
          },
        },
      },
    },
  }
}
