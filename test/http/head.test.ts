import { execFile, spawnSync } from 'node:child_process'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { wantsJson } from '../../src/http/accept.ts'
import { exchange, statusesOf } from '../security/http/exchange.ts'
import { type Caller, newCallers } from '../support/api.ts'
import { type Instance, startInstance } from '../support/instance.ts'

let instance: Instance
let alice: Caller
beforeAll(async () => {
  instance = await startInstance()
  ;[alice] = (await newCallers(instance.url, 'alice')) as [Caller]
})
afterAll(() => instance.close())

const bearer = () => `Authorization: Bearer ${alice.token}`
const request = (line: string, ...more: string[]) =>
  [`${line} HTTP/1.1`, 'Host: x', ...more, '', ''].join('\r\n')

describe('header fields', () => {
  const fields = (count: number) => Array.from({ length: count }, (_, i) => `X-${i}: a`)

  it('may be 200', async () => {
    // Host is one.
    expect(await statusesOf(instance.url, request('GET /livez', ...fields(199)))).toEqual([200])
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
  ])('past 200 are 431: %s', async (_, bytes) => {
    expect(await statusesOf(instance.url, bytes())).toEqual([431])
  })

  it.each([
    ['Host', 'Host: x'],
    ['Origin', 'Origin: https://app.example', 'Origin: https://app.example'],
    ['Content-Type', 'Content-Type: application/json', 'content-type: text/plain'],
    ['Last-Event-ID', 'Last-Event-ID: 0', 'Last-Event-ID: 0'],
    ['Sec-Fetch-Site', 'Sec-Fetch-Site: none', 'Sec-Fetch-Site: cross-site'],
    ['Upgrade', 'Upgrade: h2c', 'Upgrade: websocket'],
    ['Content-Encoding', 'Content-Encoding: identity', 'Content-Encoding: gzip'],
  ])('that is sent twice is refused by name: %s', async (name, ...twice) => {
    const { answers } = await exchange(instance.url, request('GET /livez', ...twice))
    expect(answers.map(({ status }) => status)).toEqual([400])
    expect(JSON.parse(answers[0]?.body ?? '')).toMatchObject({
      detail: `The header ${name.toLowerCase()} was sent twice.`,
    })
  })
})

describe('an upgrade that is not taken', () => {
  const H2C = [
    'Connection: Upgrade, HTTP2-Settings',
    'Upgrade: h2c',
    'HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA',
  ]
  const WEBSOCKET = [
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
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
    ['to a WebSocket, elsewhere than at /ws', () => request('GET /livez', ...WEBSOCKET), 200],
    ['to h2c at /ws', () => request('GET /ws', ...H2C, bearer()), 426],
  ])('is carried out as if it had not been asked for: %s', async (_, bytes, status) => {
    expect(await statusesOf(instance.url, bytes())).toEqual([status])
  })

  it.each([
    ['POST /stories', 201],
    ['GET /me/connections', 200],
    ['GET /ws', 426],
  ])('to a WebSocket, with a body: %s is carried out', async (line, status) => {
    const head = request(line, ...WEBSOCKET, bearer(), JSON_TYPE).slice(0, -2)
    const bodies = ['Content-Length: 2\r\n\r\n{}', 'Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n']
    for (const body of bodies) expect(await statusesOf(instance.url, head + body)).toEqual([status])
  })

  it('to a WebSocket, with a body: what is written is what the body says', async () => {
    const [bob] = (await newCallers(instance.url, 'bob')) as [Caller]
    const id = await alice.post()
    const body = '{"emoji":"❤️"}'
    const length = `Content-Length: ${Buffer.byteLength(body)}`
    const head = [...WEBSOCKET, `Authorization: Bearer ${bob.token}`, JSON_TYPE, length]
    expect(await statusesOf(instance.url, request(`POST /stories/${id}/reactions`, ...head) + body)).toEqual([
      200,
    ])
    expect(await statusesOf(instance.url, request(`POST /stories/${id}/view`, ...head) + body)).toEqual([200])
    expect(await alice.story(id)).toMatchObject({ views: 1, reactions: { '❤️': 1 } })
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
  ])('%s asks for JSON: %s', (accept, json) => {
    expect(wantsJson(accept)).toBe(json)
  })
})
