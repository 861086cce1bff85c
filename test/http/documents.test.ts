import { readFile } from 'node:fs/promises'
import specs from '@asyncapi/specs'
import { Validator } from '@seriousme/openapi-schema-validator'
import { Ajv, type AnySchema } from 'ajv'
import addFormats from 'ajv-formats'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type ErrorCode, GlimpseError } from '../../src/errors.ts'
import { openApiDocument } from '../../src/http/documents/openapi.ts'
import { TASKS } from '../../src/http/documents/tasks.ts'
import { PROBLEMS, problemAnswer } from '../../src/http/problem.ts'
import { routeTable } from '../../src/http/routes.ts'
import { type Caller, call, newCallers } from '../support/api.ts'
import {
  type AsyncApi,
  expectValid,
  type Json,
  type OpenApi,
  references,
  schemaAt,
} from '../support/documents.ts'
import { type Instance, startInstance } from '../support/instance.ts'

let instance: Instance
let openApi: OpenApi
let asyncApi: AsyncApi
beforeAll(async () => {
  instance = await startInstance()
  openApi = (await call<OpenApi>(instance.url, '/openapi.json')).json
  asyncApi = (await call<AsyncApi>(instance.url, '/asyncapi.json')).json
})
afterAll(() => instance.close())

describe('the documents', () => {
  it('are valid OpenAPI 3.1', async () => {
    expect(openApi.openapi).toMatch(/^3\.1\./)
    expect(await new Validator().validate(structuredClone(openApi))).toEqual({ valid: true })
  })

  it('are valid AsyncAPI 3.0', () => {
    // The specification's schema brings draft 7 with it, which Ajv must not know already.
    const ajv = new Ajv({ strict: false, meta: false, validateSchema: false })
    addFormats.default(ajv)
    expect(asyncApi.asyncapi).toBe('3.0.0')
    expectValid(ajv.compile(specs.schemas['3.0.0'] as AnySchema), asyncApi)
  })

  it('refer to nothing that is not there', () => {
    for (const document of [openApi, asyncApi]) {
      const found = references(document)
      expect(found.length).toBeGreaterThan(10)
      expect(found.filter(({ target }) => target === undefined)).toEqual([])
      // Either would turn the references of a schema into references to something else.
      expect(JSON.stringify(document)).not.toMatch(/"\$(?:id|schema)":/)
    }
  })

  it.each([{ production: true }, { production: false }])('name the routes there are: %j', (config) => {
    const served = routeTable(config).map(([method, path]) => `${method} ${path.replace(/:(\w+)/g, '{$1}')}`)
    const { paths } = openApiDocument(config) as OpenApi
    const documented = Object.entries(paths).flatMap(([path, item]) =>
      Object.keys(item)
        .filter((key) => key !== 'parameters')
        .map((method) => `${method.toUpperCase()} ${path}`),
    )
    expect(documented.sort()).toEqual(served.sort())
  })

  it('have each call under one task, which docs/README.md has pages for', async () => {
    const calls = Object.values(openApi.paths).flatMap((path) =>
      Object.entries(path).flatMap(([key, value]) =>
        key === 'parameters' ? [] : [value as unknown as Json],
      ),
    )
    const routes = TASKS.flatMap((task) => task.routes)
    expect(calls.length).toBe(routes.length)
    for (const { operationId, tags } of calls) expect(tags, `the tasks of ${operationId}`).toHaveLength(1)
    const contents = await readFile(new URL('../../docs/README.md', import.meta.url), 'utf8')
    for (const { readers } of TASKS) expect(contents).toContain(`## ${readers}\n`)
  })

  it('leave out in production what is not there then', async () => {
    const production = await startInstance({ NODE_ENV: 'production', PAGES: 'on' })
    try {
      const { text } = await call(production.url, '/openapi.json')
      expect(text).toContain('"/stories"')
      expect(text).not.toMatch(/dev\/tokens|NewTokenBody/)
    } finally {
      await production.close()
    }
  })

  it('give examples that are as they say', () => {
    const messages = (asyncApi.components as Json).messages as Record<string, { examples: Json[] }>
    expect(Object.keys(messages)).toHaveLength(10)
    for (const [name, { examples }] of Object.entries(messages)) {
      expect(examples.length).toBeGreaterThan(0)
      for (const { payload } of examples)
        expectValid(schemaAt(asyncApi, 'components', 'schemas', name), payload)
    }
  })
})

describe('problems', () => {
  const codes = Object.keys(PROBLEMS) as ErrorCode[]

  it.each(codes)('%s is as documented', (code) => {
    const { body } = problemAnswer(new GlimpseError(code, { detail: 'why', field: 'text', retryAfter: 1 }))
    expectValid(schemaAt(openApi, 'components', 'schemas', 'Problem'), body)
  })

  // Nothing limits the rate of anything yet.
  it.each(
    codes.filter((code) => code !== 'too_many_requests'),
  )('%s is an answer of some operation', (code) => {
    const answers = Object.values(openApi.paths).flatMap((item) =>
      Object.values(item).map(({ responses }) => responses?.[PROBLEMS[code].status]),
    )
    expect(answers.some((answer) => JSON.stringify(answer)?.includes(`"urn:glimpse:problem:${code}"`))).toBe(
      true,
    )
  })
})

describe('requests', () => {
  let alice: Caller
  let story: string
  beforeAll(async () => {
    alice = (await newCallers(instance.url, 'alice'))[0] as Caller
    story = await alice.post()
  })

  /** The document and the server must be of one mind. */
  async function agree(path: string, template: string, json: unknown, method = 'POST') {
    const at = [
      'paths',
      template,
      method.toLowerCase(),
      'requestBody',
      'content',
      'application/json',
      'schema',
    ]
    const documented = schemaAt(openApi, ...at)(json)
    const { status } = await alice.call(method, path, json)
    expect({ json, taken: status < 300 }).toEqual({ json, taken: documented })
    if (!documented) expect(status).toBe(400)
  }

  it.each([
    {},
    { text: null },
    { text: '😀'.repeat(2000) },
    { text: '😀'.repeat(2001) },
    { text: 'nul \0' },
    { text: 'half \ud83d' },
    { text: 5 },
    { expires_in: 0 },
    { expires_in: 1 },
    { expires_in: 1.5 },
    { expires_in: 604_800 },
    { expires_in: 604_801 },
    { expires_in: null },
    { title: 'a' },
    [],
    'text',
  ])('POST /stories takes exactly what is documented', (json) => agree('/stories', '/stories', json))

  it.each([{ text: 'a' }, { text: 5 }, { id: 1 }, []])('PUT /stories/{id} takes %j as documented', (json) =>
    agree(`/stories/${crypto.randomUUID()}`, '/stories/{id}', json, 'PUT'))

  it.each([
    { emoji: '❤️' },
    { emoji: '' },
    { emoji: 5 },
    { emoji: '❤️'.repeat(40) },
    { emoji: '❤️', user: 'bob' },
    {},
  ])('POST reactions takes %j as documented', (json) =>
    agree(`/stories/${story}/reactions`, '/stories/{id}/reactions', json))

  it.each([
    { user: 'alice' },
    { user: '' },
    { user: '😀'.repeat(255) },
    { user: '😀'.repeat(256) },
    { user: 'a\nb' },
    { user: 'a\u009f' },
    { user: 'half \ud83d' },
    { user: 'alice', expires_in: 0 },
    { user: 'alice', expires_in: 31_536_000 },
    { user: 'alice', expires_in: 31_536_001 },
    { expires_in: 60 },
  ])('POST /dev/tokens takes exactly what is documented', (json) => agree('/dev/tokens', '/dev/tokens', json))

  it('GET /events takes the documented limits, and has the documented default', async () => {
    const limit = schemaAt(openApi, 'components', 'parameters', 'limit', 'schema')
    for (const asked of [0, 1, 1000, 1001]) {
      const { status } = await page(`&limit=${asked}`)
      expect([asked, status === 200]).toEqual([asked, limit(asked)])
    }
    const crowd = await newCallers(instance.url, ...Array<string>(101).fill('viewer'))
    await Promise.all(crowd.map((viewer) => viewer.view(story)))
    const { default: usual } = limit.schema as { default: number }
    expect((await page('')).json.events).toHaveLength(usual)
  })

  const page = (query: string) =>
    call<{ events: unknown[] }>(instance.url, `/events?after=0${query}`, {
      token: alice.token,
      headers: { accept: 'application/json' },
    })
})
