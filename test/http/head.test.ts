import { execFile, spawnSync } from 'node:child_process'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { wantsJson } from '../../src/http/accept.ts'
import { normalPath } from '../../src/http/path.ts'
import { exchange } from '../security/http/exchange.ts'
import { type Caller, call, newCallers } from '../support/api.ts'
import { type Instance, startInstance } from '../support/instance.ts'

let instance: Instance
let alice: Caller
beforeAll(async () => {
  instance = await startInstance({
    CORS_ORIGINS: 'https://app.example,capacitor://localhost',
    BODY_MAX_BYTES: '1024',
  })
  ;[alice] = (await newCallers(instance.url, 'alice')) as [Caller]
})
afterAll(() => instance.close())

const bearer = () => `Authorization: Bearer ${alice.token}`
const request = (line: string, ...more: string[]) =>
  [`${line} HTTP/1.1`, 'Host: x', ...more, '', ''].join('\r\n')

/** The statuses of all answers to these very bytes, and what the first refusal says. */
async function answers(
  bytes: string,
  count = 1,
): Promise<{ statuses: number[]; problem?: { detail: string } }> {
  const { answers } = await exchange(instance.url, bytes, { answers: count })
  const refusal = answers.find(({ status }) => status >= 400)
  return {
    statuses: answers.map(({ status }) => status),
    ...(refusal === undefined ? {} : { problem: JSON.parse(refusal.body) }),
  }
}

describe('header fields', () => {
  const fields = (count: number) => Array.from({ length: count }, (_, i) => `X-${i}: a`)

  it('may be 200', async () => {
    // Host is one.
    expect((await answers(request('GET /livez', ...fields(199)))).statuses).toEqual([200])
  })

  it.each([
    ['201', () => request('GET /livez', ...fields(200))],
    // Node would have dropped what comes behind the thousandth.
    [
      '1,100, and then the one that matters',
      () => request('GET /me/connections', ...Array(1100).fill('a:'), bearer()),
    ],
    [
      '1,100 behind the one that matters',
      () => request('GET /me/connections', bearer(), ...Array(1100).fill('a:')),
    ],
  ])('past that get 431: %s', async (_, bytes) => {
    expect((await answers(bytes())).statuses).toEqual([431])
  })

  it.each([
    ['Host', 'Host: x'],
    ['Origin', 'Origin: https://app.example', 'Origin: https://app.example'],
    ['Content-Type', 'Content-Type: application/json', 'content-type: text/plain'],
    ['Last-Event-ID', 'Last-Event-ID: 0', 'Last-Event-ID: 0'],
    ['Sec-Fetch-Site', 'Sec-Fetch-Site: none', 'Sec-Fetch-Site: cross-site'],
    ['Upgrade', 'Upgrade: h2c', 'Upgrade: websocket'],
    ['Content-Encoding', 'Content-Encoding: identity', 'Content-Encoding: gzip'],
  ])('%s twice is refused, by name', async (name, ...twice) => {
    const { statuses, problem } = await answers(request('GET /livez', ...twice))
    expect(statuses).toEqual([400])
    expect(problem?.detail).toBe(`The header ${name.toLowerCase()} was sent twice.`)
  })
})

describe('a path', () => {
  it.each([
    ['/metrics', '/metrics'],
    ['/%6detrics', '/metrics'],
    ['/%6Detric%73?a=%6d', '/metrics'],
    ['http://x.example/%65vents', '/events'],
    ['http://x.example?a', '/'],
    ['/me%2fread', '/me%2Fread'],
    ['/%', '/%'],
    ['/%zz', '/%zz'],
    ['/%256d', '/%256d'],
    ['/./metrics', '/./metrics'],
    ['*', '*'],
  ])('%s is %s', (target, path) => {
    expect(normalPath(target)).toBe(path)
  })

  it('is one and the same however it is written', async () => {
    const head = { method: 'HEAD', token: alice.token }
    expect((await call(instance.url, '/%65vents', head)).status).toBe(405)
    expect((await answers(request('GET /%6divez', bearer()))).statuses).toEqual([404])
    expect((await answers(request('GET /%6civez'))).statuses).toEqual([200])
    expect((await answers(request('GET /livez/%2e%2e/metrics'))).statuses).toEqual([404])
  })

  it('has no fragment', async () => {
    expect((await answers(request('GET /livez#a'))).statuses).toEqual([400])
  })
})

describe('an upgrade that is not taken', () => {
  const H2C = [
    'Connection: Upgrade, HTTP2-Settings',
    'Upgrade: h2c',
    'HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA',
  ]
  const JSON_TYPE = 'Content-Type: application/json'

  it.each([
    [
      'with a body',
      () => `${request('POST /stories', ...H2C, bearer(), JSON_TYPE, 'Content-Length: 2')}{}`,
      201,
    ],
    [
      'with a body of unknown length',
      () =>
        `${request('POST /stories', ...H2C, bearer(), JSON_TYPE, 'Transfer-Encoding: chunked')}2\r\n{}\r\n0\r\n\r\n`,
      201,
    ],
    ['without one', () => request('GET /livez', ...H2C), 200],
    [
      'to a WebSocket, elsewhere than at /ws',
      () => request('GET /livez', 'Connection: Upgrade', 'Upgrade: websocket'),
      200,
    ],
    ['to h2c at /ws', () => request('GET /ws', ...H2C, bearer()), 426],
  ])('is carried out as if it had not asked: %s', async (_, bytes, status) => {
    expect((await answers(bytes())).statuses).toEqual([status])
  })

  it('leaves the connection for the next request', async (context) => {
    context.skip(spawnSync('curl', ['--version']).status !== 0, 'curl is not installed')
    const write = ['-s', '-o', '/dev/null', '-w', '%{http_code} %{num_connects}\n', '--http2']
    const { stdout } = await promisify(execFile)('curl', [
      ...[...write, '-H', bearer(), '-H', JSON_TYPE, '-d', '{}', `${instance.url}/stories`, '--next'],
      ...[...write, '-H', bearer(), `${instance.url}/me/connections`],
    ])
    expect(stdout).toBe('201 1\n200 0\n')
  })
})

describe('a body', () => {
  it('with a Content-Encoding is refused, not taken for bad JSON', async () => {
    const reply = await call<{ type: string }>(instance.url, '/stories', {
      method: 'POST',
      token: alice.token,
      body: new Uint8Array([0x1f, 0x8b, 8, 0]),
      headers: { 'content-type': 'application/json', 'content-encoding': 'gzip' },
    })
    expect(reply.status).toBe(415)
    expect(reply.json.type).toBe('urn:glimpse:problem:encoded_body')
    expect(reply.headers.get('accept-encoding')).toBe('identity')
    const plain = { 'content-type': 'application/json', 'content-encoding': 'identity' }
    const taken = await call(instance.url, '/stories', {
      method: 'POST',
      token: alice.token,
      body: '{}',
      headers: plain,
    })
    expect(taken.status).toBe(201)
  })

  it.each([
    ['POST', '/stories/{id}/view'],
    ['DELETE', '/stories/{id}'],
    ['GET', '/livez'],
    ['GET', '/events'],
  ])('where none belongs is bounded: %s %s', async (method, path) => {
    const target = path.replace('{id}', await alice.post())
    const long = request(`${method} ${target}`, bearer(), 'Content-Length: 1025')
    expect((await answers(long)).statuses).toEqual([413])
    const chunk = `400\r\n${'x'.repeat(1024)}\r\n`
    const chunked = `${request(`${method} ${target}`, bearer(), 'Transfer-Encoding: chunked')}${chunk}${chunk}`
    expect((await answers(chunked)).statuses).toEqual([413])
  })

  it('that is short enough there changes nothing', async () => {
    const story = await alice.post()
    const view = `${request(`POST /stories/${story}/view`, bearer(), 'Content-Length: 1024')}${'x'.repeat(1024)}`
    expect((await answers(view + view, 2)).statuses).toEqual([200, 200])
  })
})

describe('Accept', () => {
  it.each([
    [undefined, false],
    ['*/*', false],
    ['text/event-stream', false],
    ['application/json', true],
    ['Application/JSON; charset=utf-8', true],
    ['application/json, text/event-stream;q=0.1', true],
    ['application/json;q=0.1, text/event-stream', false],
    ['application/json;q=0, */*', false],
    ['text/event-stream;q=0, */*', true],
    ['application/*', true],
    ['application/json, text/plain, */*', true],
    ['text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8', false],
    ['text/event-stream, application/json', false],
    ['text/html', false],
  ])('%s: a page is asked for: %s', (accept, json) => {
    expect(wantsJson(accept)).toBe(json)
  })
})

describe('CORS', () => {
  it.each([
    'https://app.example',
    'capacitor://localhost',
  ])('%s may send what tracing adds', async (origin) => {
    const reply = await call(instance.url, '/stories', {
      method: 'OPTIONS',
      headers: {
        origin,
        'access-control-request-method': 'POST',
        'access-control-request-headers':
          'authorization,baggage,cache-control,sentry-trace,traceparent,tracestate,x-requested-with',
      },
    })
    expect(reply.status).toBe(204)
    expect(reply.headers.get('access-control-allow-origin')).toBe(origin)
    const allowed = (reply.headers.get('access-control-allow-headers') ?? '').toLowerCase().split(', ')
    expect(allowed).toEqual(
      expect.arrayContaining([
        'authorization',
        'baggage',
        'cache-control',
        'sentry-trace',
        'traceparent',
        'tracestate',
        'x-requested-with',
      ]),
    )
  })
})
