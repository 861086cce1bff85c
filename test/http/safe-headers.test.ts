import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Caller, call, newCallers } from '../support/api.ts'
import { closing } from '../support/clients/index.ts'
import { openSse } from '../support/clients/sse.ts'
import { type Instance, startInstance } from '../support/instance.ts'

let instance: Instance
let alice: Caller
beforeAll(async () => {
  instance = await startInstance()
  alice = (await newCallers(instance.url, 'alice'))[0] as Caller
})
afterAll(() => instance.close())

it.each([
  ['GET', '/'],
  ['GET', '/docs'],
  ['GET', '/openapi.json'],
  ['GET', '/livez'],
  ['GET', '/metrics'],
  ['GET', '/nowhere'],
  ['GET', '/me/connections'],
  ['POST', '/tickets'],
  ['POST', '/dev/tokens'],
  ['OPTIONS', '/stories'],
])('%s %s: the browser neither guesses its type nor passes its URL on', async (method, path) => {
  const { headers } = await call(instance.url, path, { method, token: alice.token })
  expect(headers.get('x-content-type-options')).toBe('nosniff')
  expect(headers.get('referrer-policy')).toBe('no-referrer')
})

it.each(['/', '/docs'])('%s runs only scripts of its own origin, and is shown in no frame', async (path) => {
  const policy = (await call(instance.url, path)).headers.get('content-security-policy') ?? ''
  expect(policy).toContain("default-src 'none'")
  expect(policy).toContain("frame-ancestors 'none'")
  expect(policy).not.toMatch(/unsafe-eval|script-src[^;]*unsafe-inline|\*/)
})

it.each([
  ['POST', '/tickets'],
  ['POST', '/dev/tokens'],
  ['GET', '/me/connections'],
  ['GET', '/events?limit=1'],
])('%s %s: no cache keeps the answer', async (method, path) => {
  const { headers } = await call(instance.url, path, {
    method,
    token: alice.token,
    headers: { accept: 'application/json' },
  })
  expect(headers.get('cache-control')).toBe('no-store')
})

it('a stream has the same headers', async () => {
  const { response } = await closing(openSse({ url: instance.url, path: `/events?token=${alice.token}` }))
  expect(response.headers['x-content-type-options']).toBe('nosniff')
  expect(response.headers['referrer-policy']).toBe('no-referrer')
})

it('a refusal of something that is no request has them too', async () => {
  const socket = connect(Number(new URL(instance.url).port), '127.0.0.1')
  socket.write('GET /?token=secret HTTP/9.9\r\n\r\n')
  expect(await text(socket)).toMatch(
    /^HTTP\/1\.1 400 [\s\S]*Cache-Control: no-store\r\nX-Content-Type-Options: nosniff/,
  )
})
