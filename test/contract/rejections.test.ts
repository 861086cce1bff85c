import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Caller, call, newCallers, type Problem } from '../support/api.ts'
import { open, STREAMING, TRANSPORTS } from '../support/clients/index.ts'
import { openSse } from '../support/clients/sse.ts'
import { type OpenOptions, Rejected } from '../support/clients/stream.ts'
import { openWebSocket } from '../support/clients/websocket.ts'
import { type Instance, startInstance } from '../support/instance.ts'
import { signToken } from '../support/token.ts'

const FRIEND = 'https://app.example'

let instance: Instance
let alice: Caller
beforeAll(async () => {
  instance = await startInstance({ CORS_ORIGINS: `https://other.example, ${FRIEND}` })
  alice = (await newCallers(instance.url, 'alice'))[0] as Caller
})
afterAll(() => instance.close())

async function rejection(transport: (typeof TRANSPORTS)[number], options: Omit<OpenOptions, 'url'>) {
  const outcome = await open(transport, { url: instance.url, ...options }).catch((error: unknown) => error)
  if (!(outcome instanceof Rejected)) throw new Error(`not rejected: ${outcome}`)
  expect(outcome.headers.get('content-type')).toMatch(/^application\/problem\+json\b/)
  const problem = JSON.parse(outcome.body) as Problem
  expect(problem.status).toBe(outcome.status)
  return { status: outcome.status, headers: outcome.headers, problem }
}

describe.each(TRANSPORTS)('before a stream starts, %s', (transport) => {
  it.each([
    ['no token', async () => ({})],
    ['an empty token', async () => ({ headers: { authorization: 'Bearer ' } })],
    ['another scheme', async () => ({ headers: { authorization: 'Basic YWxpY2U6eA==' } })],
    ['garbage', async () => ({ token: 'not-a-token' })],
    ['an expired token', async () => ({ token: await signToken('alice', { expiresIn: -60 }) })],
    ['a foreign signature', async () => ({ token: await signToken('alice', { secret: 'z'.repeat(40) }) })],
    ['a sub that is no user id', async () => ({ token: await signToken('al\u0007ice') })],
  ])('%s is 401 with WWW-Authenticate: Bearer', async (_what, make) => {
    const { status, headers, problem } = await rejection(transport, await make())
    expect(status).toBe(401)
    expect(headers.get('www-authenticate')).toMatch(/^Bearer\b/)
    expect(problem.type).toBe('urn:glimpse:problem:unauthorized')
  })

  it.each([
    ['no token', async () => ({}), 'A token is needed.', 'Bearer'],
    [
      'an expired token',
      async () => ({ token: await signToken('alice', { expiresIn: -60 }) }),
      'The access token has expired.',
      'Bearer error="invalid_token", error_description="The access token has expired."',
    ],
    [
      'an expired token of a stranger',
      async () => ({ token: await signToken('alice', { expiresIn: -60, secret: 'z'.repeat(40) }) }),
      'The access token is not valid.',
      'Bearer error="invalid_token", error_description="The access token is not valid."',
    ],
  ])('%s is told what is wrong as far as its signature allows', async (_what, make, detail, challenge) => {
    const { headers, problem } = await rejection(transport, await make())
    expect([problem.detail, headers.get('www-authenticate')]).toEqual([detail, challenge])
  })

  it.each([
    'https://evil.example',
    'null',
    'http://app.example',
    `${FRIEND}:8443`,
    `${FRIEND}.evil.example`,
  ])('a page of %s is 403, whatever its token', async (origin) => {
    const { status, problem } = await rejection(transport, { token: alice.token, headers: { origin } })
    expect(status).toBe(403)
    expect(problem.type).toBe('urn:glimpse:problem:origin_not_allowed')
  })

  it("the service's own pages and the listed ones are let in", async () => {
    for (const origin of [instance.url, FRIEND, 'https://other.example'])
      await open(transport, { url: instance.url, token: alice.token, headers: { origin } })
  })

  it('a cookie counts for pages of allowed origins, and for no others', async () => {
    const cookie = `a=b; glimpse_token=${alice.token}; c=d`
    for (const origin of [instance.url, FRIEND])
      await open(transport, { url: instance.url, headers: { cookie, origin } })
    const { status } = await rejection(transport, { headers: { cookie, origin: 'https://evil.example' } })
    expect(status).toBe(403)
  })
})

describe.each(STREAMING)('a token in the query, over %s', (transport) => {
  it('is taken where a header cannot be set', async () => {
    const path = `?token=${alice.token}`
    const stream =
      transport === 'sse'
        ? await openSse({ url: instance.url, path: `/events${path}` })
        : await open('undici WebSocket', alice)
    expect(stream.messages[0]?.json.type).toBe('stream.open')
    stream.close()
  })
})

describe('the upgrade', () => {
  it('is 404 elsewhere than at /ws', async () => {
    const answer = await handshake('/nowhere', {})
    expect(answer).toMatch(/^HTTP\/1\.1 404 /)
    expect(answer).toContain('application/problem+json')
  })

  it('is asked for where /ws is requested as plain HTTP', async () => {
    const response = await call<Problem>(instance.url, '/ws', { token: alice.token })
    expect(response.status).toBe(426)
    expect(response.headers.get('upgrade')).toBe('websocket')
    expect(response.json.type).toBe('urn:glimpse:problem:upgrade_required')
  })

  it.each([
    ['another version', { 'Sec-WebSocket-Version': '12' }],
    ['no version', { 'Sec-WebSocket-Version': undefined }],
    ['a key of the wrong length', { 'Sec-WebSocket-Key': 'c2hvcnQ=' }],
    ['no key', { 'Sec-WebSocket-Key': undefined }],
  ])('with %s fails as HTTP, and leaves nothing that counts as a connection', async (_what, headers) => {
    const single = await startInstance({ MAX_CONNECTIONS: '1' })
    try {
      for (let attempt = 0; attempt < 3; attempt += 1)
        expect(await handshake('/ws', headers, single.url)).toMatch(/^HTTP\/1\.1 4(00|26) /)
      const stream = await openWebSocket({ url: single.url, token: alice.token })
      stream.close()
    } finally {
      await single.close()
    }
  })
})

describe('CORS on the event stream', () => {
  it('names the allowed origin, so that its page can read the response', async () => {
    const stream = await openSse({ url: instance.url, token: alice.token, headers: { origin: FRIEND } })
    expect(stream.response.headers['access-control-allow-origin']).toBe(FRIEND)
    expect(stream.response.headers['access-control-allow-credentials']).toBe('true')
    expect(stream.response.headers.vary).toMatch(/\borigin\b/i)
    stream.close()
  })
})

/** An opening handshake (RFC 6455 §4.1) with some of its fields replaced or left out; gives the answer's whole text. */
async function handshake(path: string, fields: Record<string, string | undefined>, url = instance.url) {
  const { hostname, port, host } = new URL(url)
  const head = Object.entries({
    Host: host,
    Authorization: `Bearer ${alice.token}`,
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
    'Sec-WebSocket-Version': '13',
    ...fields,
  }).flatMap(([name, value]) => (value === undefined ? [] : [`${name}: ${value}\r\n`]))
  const socket = connect(Number(port), hostname)
  socket.write(`GET ${path} HTTP/1.1\r\n${head.join('')}\r\n`)
  return text(socket)
}
