import { Ajv, type ValidateFunction } from 'ajv'
import { Ajv2020 } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'
import { expect } from 'vitest'

export type Json = { readonly [key: string]: unknown }

interface Response {
  readonly headers?: Json
  readonly content?: Readonly<Record<string, Json>>
}
export interface Operation {
  readonly responses: Readonly<Record<string, Response>>
  readonly requestBody?: Json
}
export interface OpenApi extends Json {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
}
export interface AsyncApi extends Json {
  readonly channels: Readonly<Record<string, Json & { readonly messages: Readonly<Record<string, Json>> }>>
}

/** Headers that a client acts on: one that is sent must be documented, and the other way round. */
const TOLD_HEADERS = [
  'Location',
  'Allow',
  'WWW-Authenticate',
  'Retry-After',
  'Upgrade',
  'Sec-WebSocket-Version',
  'ETag',
  'Stream-Next-Offset',
  'Stream-Cursor',
]

const OPTIONS = { strict: false, validateSchema: false, allErrors: true } as const

/** Compiled once for each document and place: a fuzzer asks for the same ones again and again. */
const compiled = new WeakMap<Json, Map<string, ValidateFunction>>()

/** The schema at a JSON pointer into `document`, as a check that is stricter than it: no field may be undocumented. */
export function schemaAt(document: Json, ...pointer: readonly string[]): ValidateFunction {
  const known = compiled.get(document) ?? new Map<string, ValidateFunction>()
  compiled.set(document, known)
  const place = JSON.stringify(pointer)
  const validate = known.get(place) ?? compile(document, pointer)
  known.set(place, validate)
  return validate
}

function compile(document: Json, pointer: readonly string[]): ValidateFunction {
  const ajv = 'openapi' in document ? new Ajv2020(OPTIONS) : new Ajv(OPTIONS)
  addFormats.default(ajv)
  ajv.addSchema(closed(document) as Json, 'document')
  const fragment = pointer.map((part) => encodeURIComponent(part.replaceAll('~', '~0').replaceAll('/', '~1')))
  const validate = ajv.getSchema(`document#/${fragment.join('/')}`)
  if (validate === undefined) throw new Error(`no schema at ${pointer.join(' / ')}`)
  return validate
}

export function expectValid(validate: ValidateFunction, value: unknown): void {
  const valid = validate(value)
  expect({ value, errors: valid ? [] : validate.errors }).toEqual({ value, errors: [] })
}

/** Holds an answer to what the document says of `operation` (`GET /stories/{id}`): status, type, body and headers. */
export function expectDocumented(
  document: OpenApi,
  operation: string,
  reply: { readonly status: number; readonly headers: Headers; readonly text: string },
): void {
  const [method = '', path = ''] = operation.split(' ')
  const status = String(reply.status)
  const responses = document.paths[path]?.[method.toLowerCase()]?.responses ?? {}
  expect(Object.keys(responses)).toContain(status)
  const { headers = {}, content = {} } = responses[status] ?? {}
  expect(TOLD_HEADERS.filter((name) => reply.headers.has(name)).sort()).toEqual(Object.keys(headers).sort())

  const type = reply.headers.get('content-type')?.split(';')[0]
  if (type === undefined || reply.text === '') {
    expect([content, reply.text]).toEqual([{}, ''])
    return
  }
  expect(Object.keys(content)).toContain(type)
  const at = ['paths', path, method.toLowerCase(), 'responses', status, 'content', type, 'schema']
  expectValid(schemaAt(document, ...at), type.endsWith('json') ? JSON.parse(reply.text) : reply.text)
}

/** Every `$ref` in the document, and what it points to. */
export function references(document: Json): { ref: string; target: unknown }[] {
  const refs = new Set<string>()
  JSON.stringify(document, (key, value) => {
    if (key === '$ref') refs.add(value)
    return value
  })
  return [...refs].map((ref) => ({ ref, target: resolve(document, ref) }))
}

function resolve(document: Json, ref: string): unknown {
  if (!ref.startsWith('#/')) return undefined
  return ref
    .slice(2)
    .split('/')
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
    .reduce<unknown>((at, part) => (at as Json | undefined)?.[part], document)
}

function closed(node: unknown): unknown {
  if (Array.isArray(node)) return node.map(closed)
  if (typeof node !== 'object' || node === null) return node
  const copy = Object.fromEntries(Object.entries(node).map(([key, value]) => [key, closed(value)]))
  return copy.type === 'object' && copy.properties !== undefined
    ? { additionalProperties: false, ...copy }
    : copy
}
