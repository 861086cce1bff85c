import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { json } from 'node:stream/consumers'
import { expect, it, onTestFinished } from 'vitest'
import { Caller, call } from '../support/api.ts'
import { openSse } from '../support/clients/sse.ts'
import { createDatabase } from '../support/database.ts'
import { spawnInstance } from '../support/instance.ts'
import { signToken } from '../support/token.ts'

interface Export {
  readonly resourceSpans: readonly {
    readonly resource: {
      readonly attributes: readonly { readonly key: string; readonly value: { stringValue: string } }[]
    }
    readonly scopeSpans: readonly {
      readonly spans: readonly { readonly name: string; readonly traceId: string }[]
    }[]
  }[]
}

/** Takes what an SDK exports over OTLP/HTTP with JSON (/v1/traces). */
async function collector() {
  const exports: Export[] = []
  const server = createServer(async (request, response) => {
    if (request.url === '/v1/traces') exports.push((await json(request)) as Export)
    response.setHeader('Content-Type', 'application/json').end('{}')
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, exports }
}

it('node --import ./deploy/otel.js: the spans of one write reach a collector, in one trace', async () => {
  const { url: endpoint, exports } = await collector()
  const database = await createDatabase()
  const main = await spawnInstance({
    DATABASE_URL: database.url,
    MIGRATE: 'off',
    NODE_OPTIONS: '--import ./deploy/otel.js',
    OTEL_EXPORTER_OTLP_ENDPOINT: endpoint,
  })
  onTestFinished(async () => {
    await main.kill('SIGTERM')
    await database.drop()
  })
  const [author, viewer] = await Promise.all(
    ['author', 'viewer'].map(async (user) => new Caller(main.url, user, await signToken(user))),
  )
  const story = await author?.post()
  const stream = await openSse({ url: main.url, token: author?.token ?? '' })
  onTestFinished(() => stream.close())
  const traceId = '0af7651916cd43dd8448eb211c80319c'
  const { status } = await call(main.url, `/stories/${story}/view`, {
    method: 'POST',
    token: viewer?.token ?? '',
    headers: { traceparent: `00-${traceId}-b7ad6b7169203331-01` },
  })
  expect(status).toBe(200)
  await stream.take(1)
  const spans = () =>
    exports.flatMap(({ resourceSpans }) =>
      resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap(({ spans }) => spans)),
    )
  const names = () =>
    spans()
      .filter((span) => span.traceId === traceId)
      .map(({ name }) => name)
      .toSorted()
  await expect.poll(names).toEqual(['POST /stories/:id/view', 'deliver', 'write view'])
  expect(exports[0]?.resourceSpans[0]?.resource.attributes).toContainEqual({
    key: 'service.name',
    value: { stringValue: 'glimpse' },
  })
})
