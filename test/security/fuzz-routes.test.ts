import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { routeTable } from '../../src/http/routes.ts'
import { type Caller, call, newCallers } from '../support/api.ts'
import { open, STREAMING } from '../support/clients/index.ts'
import { expectDocumented, type OpenApi, type Operation } from '../support/documents.ts'
import { type Instance, startInstance } from '../support/instance.ts'
import { signToken } from '../support/token.ts'
import { FuzzClient, type FuzzReply, type FuzzRequest } from './fuzz/client.ts'
import { requests, type Shape, type World } from './fuzz/requests.ts'
import { countCases, times } from './support/full.ts'

/** Requests in flight at a time. */
const ABREAST = 8
const PER_ROUTE = times(160, 10_000)
const TIMEOUT_MS = times(30_000, 600_000)

let instance: Instance
let openApi: OpenApi
let client: FuzzClient
beforeAll(async () => {
  instance = await startInstance()
  client = new FuzzClient(instance.url)
  openApi = (await call<OpenApi>(instance.url, '/openapi.json')).json
})
afterAll(async () => {
  client.close()
  await instance.close()
})

describe('whatever it is asked, the service answers as /openapi.json says', () => {
  it.for(routeTable({ production: false }).map(([method, pattern]) => [method, pattern] as const))(
    '%s %s',
    { timeout: TIMEOUT_MS },
    async ([method, pattern], context) => {
      const operation = `${method} ${pattern.replace(/:(\w+)/g, '{$1}')}`
      const shape = shapeOf(method, pattern, operation)
      // Anew for each route: the one that deletes leaves little.
      const world = await makeWorld()
      const seen = new Map<number, number>()
      await fc.assert(
        fc.asyncProperty(
          fc.array(requests(shape, world), { minLength: ABREAST, maxLength: ABREAST }),
          async (some) => {
            const replies = await Promise.all(some.map((request) => client.send(request)))
            replies.forEach((reply, i) => {
              seen.set(reply.status, (seen.get(reply.status) ?? 0) + 1)
              expectGood(operation, some[i] as FuzzRequest, reply)
            })
          },
        ),
        { numRuns: PER_ROUTE / ABREAST, endOnFailure: true },
      )
      countCases(
        context,
        [...seen.values()].reduce((sum, count) => sum + count, 0),
      )
      // A fuzzer that never gets past the first check has tried nothing.
      expect([...seen.keys()].some((status) => status < 300)).toBe(true)
    },
  )
})

it('what is still there afterwards is well', async () => {
  expect((await call(instance.url, '/readyz')).status).toBe(200)
  const { text } = await call(instance.url, '/metrics')
  expect(text).not.toMatch(/glimpse_http_requests_total\{[^}]*status="5/)
})

function expectGood(operation: string, request: FuzzRequest, reply: FuzzReply): void {
  try {
    expect(reply.status).toBeLessThan(500)
    expect(reply.text).not.toMatch(/\bat .*:\d+:\d+|node_modules|PostgresError|glimpse\.[a-z_]+ /)
    if (reply.status === 101) expect(Object.keys(operationAt(operation).responses)).toContain('101')
    else expectDocumented(openApi, operation, reply)
  } catch (error) {
    const body = request.body.toString('latin1').slice(0, 500)
    throw new Error(`${JSON.stringify({ ...request, body })}\n${reply.status} ${reply.text.slice(0, 500)}`, {
      cause: error,
    })
  }
}

function operationAt(name: string): Operation & Parameters {
  const [method = '', path = ''] = name.split(' ')
  const operation = openApi.paths[path]?.[method.toLowerCase()]
  if (operation === undefined) throw new Error(`${name} is not documented`)
  return operation
}

interface Parameters {
  readonly parameters?: readonly { readonly $ref: string }[]
}

/** What the document says the operation takes. */
function shapeOf(method: string, pattern: string, name: string): Shape {
  const { parameters = [], requestBody } = operationAt(name)
  const query = parameters.map(({ $ref }) => $ref.split('/').at(-1) ?? '')
  const [, schema] = /schemas\/(\w+)/.exec(JSON.stringify(requestBody ?? '')) ?? []
  const schemas = (openApi.components as { schemas: Record<string, { properties?: object }> }).schemas
  const fields = schema === undefined ? undefined : Object.keys(schemas[schema]?.properties ?? {})
  return { method, pattern, query, fields }
}

/** Users, stories in every state, cursors, connections: so that a good part of the requests finds something. */
async function makeWorld(): Promise<World> {
  const callers = (await newCallers(instance.url, 'alice', 'bob', 'naughty <b>')) as [Caller, Caller, Caller]
  const [alice, bob] = callers
  const [live, expired, deleted] = [await alice.post(), await alice.post(), await alice.post()]
  const bobs = await bob.post({ text: 'by Bob' })
  await Promise.all([bob.view(live), bob.react(live, '❤️'), alice.view(bobs), bob.view(deleted)])
  await alice.call('DELETE', `/stories/${deleted}`)
  const sql = postgres(instance.database.url, { max: 1 })
  await sql`UPDATE glimpse.stories SET expires_at = now() WHERE id = ${expired}`
  await sql.end()
  for (const transport of STREAMING) await open(transport, alice)
  const connections = await vi.waitFor(async () => {
    const { json } = await alice.call<{ connections: { id: string }[] }>('GET', '/me/connections')
    expect(json.connections.length).toBeGreaterThanOrEqual(STREAMING.length)
    return json.connections.map(({ id }) => id)
  }, 20_000)
  const { json } = await call<{ cursor: string }>(instance.url, '/events?after=0', {
    token: alice.token,
    headers: { accept: 'application/json' },
  })
  const epoch = json.cursor.split('.')[0] ?? ''
  return {
    host: new URL(instance.url).host,
    tokens: callers.map(({ token }) => token),
    badTokens: [
      await signToken('alice', { expiresIn: -60 }),
      await signToken('alice', { secret: 'x'.repeat(32) }),
      'x',
      'a.b.c',
    ],
    parameters: {
      id: [live, live, bobs, bobs, expired, deleted, randomUUID(), live.toUpperCase()],
      connection: connections,
      file: ['main.js', 'index.html', 'index.js'],
    },
    cursors: [json.cursor, '0', `${epoch}.0`, `${epoch}.999999`, 'otherepoch.3', 'nonsense'],
  }
}
