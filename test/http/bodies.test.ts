import { request } from 'node:http'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { statusesOf } from '../security/http/exchange.ts'
import { type Caller, call, newCallers, type Problem } from '../support/api.ts'
import { type Instance, startInstance } from '../support/instance.ts'
import { expectProblem } from '../support/problem.ts'

const KIB = 1024

let instance: Instance
let alice: Caller
beforeAll(async () => {
  instance = await startInstance()
  alice = (await newCallers(instance.url, 'alice'))[0] as Caller
})
afterAll(() => instance.close())

const JSON_TYPE = { 'content-type': 'application/json' }

function post(body: BodyInit, headers: Record<string, string> = JSON_TYPE) {
  return call<Problem>(instance.url, '/stories', { method: 'POST', token: alice.token, body, headers })
}

describe('a body', () => {
  it.each([
    '{',
    '{"text":',
    'text',
    '{"text":"a"}}',
    '\u0000',
    '{"text":"\ud800',
  ])('that is not JSON is 400: %j', async (body) => {
    expectProblem(await post(body), 400, 'malformed_json')
  })

  it('that is not UTF-8 is 400', async () => {
    const body = new Uint8Array([...new TextEncoder().encode('{"text":"'), 0xff, 0xfe, 0x22, 0x7d])
    expectProblem(await post(body), 400, 'malformed_json')
  })

  it.each(['null', '[]', '5', '"text"', 'true'])('that is JSON but no object is 400: %s', async (body) => {
    const { status } = await post(body)
    expect(status).toBe(400)
  })

  it('may have keys that JavaScript treats specially, and they do nothing', async () => {
    const body = '{"__proto__":{"text":"polluted"},"constructor":{"prototype":{"text":"polluted"}}}'
    const reply = await post(body)
    expect(reply.text).not.toContain('polluted')
    expect(({} as { text?: string }).text).toBeUndefined()
  })

  it.each([
    'text/plain',
    'application/x-www-form-urlencoded',
    'application/jsonp',
    'application/xml',
  ])('of another type is 415: %s', async (type) => {
    expectProblem(await post('{"text":"a"}', { 'content-type': type }), 415, 'not_json')
  })

  it.each([
    'application/json; charset=utf-8',
    'Application/JSON',
  ])('of type %s is taken as JSON', async (type) => {
    expect((await post('{"text":"a"}', { 'content-type': type })).status).toBe(201)
  })

  it('of 16 KiB is taken, and one byte more is 413', async () => {
    const padded = (size: number) => `{"text":"a"${' '.repeat(size - 12)}}`
    expect((await post(padded(16 * KIB))).status).toBe(201)
    expectProblem(await post(padded(16 * KIB + 1)), 413, 'body_too_large')
  })

  it('that grows past 16 KiB without a Content-Length is 413', async () => {
    const chunk = new TextEncoder().encode(' '.repeat(KIB))
    let sent = 0
    const endless = new ReadableStream<Uint8Array>({
      pull(controller) {
        sent += 1
        if (sent > 20) controller.close()
        else controller.enqueue(chunk)
      },
    })
    expectProblem(await post(endless), 413, 'body_too_large')
  })

  it('that announces more is 413 before it is sent', async () => {
    const { status } = await new Promise<{ status: number | undefined }>((resolve, reject) => {
      const sending = request(`${instance.url}/stories`, {
        method: 'POST',
        agent: false,
        headers: {
          authorization: `Bearer ${alice.token}`,
          'content-type': 'application/json',
          'content-length': String(1024 * KIB),
        },
      })
      sending.on('error', reject).on('response', (response) => {
        resolve({ status: response.statusCode })
        text(response)
          .catch(() => {})
          .finally(() => sending.destroy())
      })
      sending.flushHeaders()
    })
    expect(status).toBe(413)
  })

  it('with a Content-Encoding is refused, not taken for bad JSON', async () => {
    const gzip = { ...JSON_TYPE, 'content-encoding': 'gzip' }
    const reply = await post(new Uint8Array([0x1f, 0x8b, 8, 0]), gzip)
    expectProblem(reply, 415, 'encoded_body')
    expect(reply.headers.get('accept-encoding')).toBe('identity')
    expect((await post('{}', { ...JSON_TYPE, 'content-encoding': 'identity' })).status).toBe(201)
  })
})

describe('a body where none belongs', () => {
  const request = (line: string, ...more: string[]) =>
    [`${line} HTTP/1.1`, 'Host: x', `Authorization: Bearer ${alice.token}`, ...more, '', ''].join('\r\n')

  it.each([
    ['POST', '/stories/{id}/view'],
    ['DELETE', '/stories/{id}'],
    ['GET', '/livez'],
    ['GET', '/events'],
  ])('is 413 past 16 KiB: %s %s', async (method, path) => {
    const line = `${method} ${path.replace('{id}', await alice.post())}`
    const long = request(line, `Content-Length: ${16 * KIB + 1}`)
    expect(await statusesOf(instance.url, long)).toEqual([413])
    const chunk = `3000\r\n${'x'.repeat(0x3000)}\r\n`
    const chunked = request(line, 'Transfer-Encoding: chunked') + chunk + chunk
    expect(await statusesOf(instance.url, chunked)).toEqual([413])
  })

  it('is read past and ignored up to 16 KiB', async () => {
    const story = await alice.post()
    const view = request(`POST /stories/${story}/view`, `Content-Length: ${16 * KIB}`) + 'x'.repeat(16 * KIB)
    expect(await statusesOf(instance.url, view + view, 2)).toEqual([200, 200])
  })
})
