import { request } from 'node:http'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Caller, call, newCallers, type Problem } from '../support/api.ts'
import { type Instance, startInstance } from '../support/instance.ts'

const FRIEND = 'https://app.example'
const KIB = 1024

let instance: Instance
let alice: Caller
beforeAll(async () => {
  instance = await startInstance({ CORS_ORIGINS: FRIEND })
  alice = (await newCallers(instance.url, 'alice'))[0] as Caller
})
afterAll(() => instance.close())

function post(body: BodyInit, headers: Record<string, string>) {
  return call<Problem>(instance.url, '/stories', { method: 'POST', token: alice.token, body, headers })
}

function expectProblem(
  reply: { status: number; headers: Headers; json: Problem },
  status: number,
  code: string,
) {
  expect([reply.status, reply.json]).toEqual([
    status,
    expect.objectContaining({ type: `urn:glimpse:problem:${code}`, title: expect.any(String), status }),
  ])
  expect(reply.headers.get('content-type')).toMatch(/^application\/problem\+json\b/)
}

describe('routes', () => {
  it.each([
    '/nowhere',
    '/stories/',
    '/stories/a/b/c',
    '/events/',
    '/%',
    '/..%2f',
    '//',
  ])('%s is 404', async (path) => {
    // Sent raw: a URL object would tidy the path first.
    const response = await rawGet(path)
    expect(response).toMatch(/^HTTP\/1\.1 4(04|00) /)
    expect(response).toContain('application/problem+json')
  })

  it.each([
    ['PUT', '/stories', ['POST']],
    ['GET', '/stories', ['POST']],
    ['PATCH', '/stories/00000000-0000-4000-8000-000000000000', ['GET', 'DELETE']],
    ['GET', '/stories/00000000-0000-4000-8000-000000000000/view', ['POST']],
    ['PUT', '/stories/00000000-0000-4000-8000-000000000000/reactions', ['POST', 'DELETE']],
    ['POST', '/events', ['GET']],
    ['DELETE', '/livez', ['GET']],
  ])('%s %s is 405 with Allow', async (method, path, allowed) => {
    const reply = await call<Problem>(instance.url, path, { method, token: alice.token })
    expectProblem(reply, 405, 'method_not_allowed')
    const allow = reply.headers.get('allow')?.split(/, ?/) ?? []
    for (const one of allowed) expect(allow).toContain(one)
    expect(allow).not.toContain(method)
  })

  it('HEAD answers as GET does, without the body', async () => {
    const story = await alice.post({ text: 'hello' })
    for (const path of ['/livez', `/stories/${story}`]) {
      const get = await alice.call('GET', path)
      const head = await alice.call('HEAD', path)
      expect([head.status, head.text]).toEqual([200, ''])
      for (const name of ['content-type', 'content-length'])
        expect([name, head.headers.get(name)]).toEqual([name, get.headers.get(name)])
    }
  })

  it('OPTIONS names the methods', async () => {
    const { status, headers } = await call(instance.url, '/stories', { method: 'OPTIONS' })
    expect([200, 204]).toContain(status)
    expect(headers.get('allow')).toContain('POST')
  })
})

describe('bodies', () => {
  it.each([
    '{',
    '{"text":',
    'text',
    '{"text":"a"}}',
    '\u0000',
    '{"text":"\ud800',
  ])('%j is malformed JSON: 400', async (body) => {
    expectProblem(await post(body, { 'content-type': 'application/json' }), 400, 'malformed_json')
  })

  it('bytes that are no UTF-8 are malformed: 400', async () => {
    const body = new Uint8Array([...new TextEncoder().encode('{"text":"'), 0xff, 0xfe, 0x22, 0x7d])
    expectProblem(await post(body, { 'content-type': 'application/json' }), 400, 'malformed_json')
  })

  it.each(['null', '[]', '5', '"text"', 'true'])('%s is no object: 400', async (body) => {
    const { status } = await post(body, { 'content-type': 'application/json' })
    expect(status).toBe(400)
  })

  it('keys that JavaScript treats specially are only keys', async () => {
    const body = '{"__proto__":{"text":"polluted"},"constructor":{"prototype":{"text":"polluted"}}}'
    const reply = await post(body, { 'content-type': 'application/json' })
    expect(reply.text).not.toContain('polluted')
    expect(({} as { text?: string }).text).toBeUndefined()
  })

  it.each([
    'text/plain',
    'application/x-www-form-urlencoded',
    'application/jsonp',
    'application/xml',
  ])('%s is 415', async (type) => {
    expectProblem(await post('{"text":"a"}', { 'content-type': type }), 415, 'not_json')
  })

  it.each(['application/json; charset=utf-8', 'Application/JSON'])('%s is JSON', async (type) => {
    expect((await post('{"text":"a"}', { 'content-type': type })).status).toBe(201)
  })

  it('16 KiB are taken, one byte more is 413', async () => {
    const padded = (size: number) => `{"text":"a"${' '.repeat(size - 12)}}`
    expect((await post(padded(16 * KIB), { 'content-type': 'application/json' })).status).toBe(201)
    expectProblem(
      await post(padded(16 * KIB + 1), { 'content-type': 'application/json' }),
      413,
      'body_too_large',
    )
  })

  it('a body that grows over 16 KiB without saying its length first is 413', async () => {
    const chunk = new TextEncoder().encode(' '.repeat(KIB))
    let sent = 0
    const endless = new ReadableStream<Uint8Array>({
      pull(controller) {
        sent += 1
        if (sent > 20) controller.close()
        else controller.enqueue(chunk)
      },
    })
    expectProblem(await post(endless, { 'content-type': 'application/json' }), 413, 'body_too_large')
  })

  it('a body that announces too much is 413 before it is sent', async () => {
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
})

describe('problems', () => {
  it('never show a stack or SQL', async () => {
    const replies = await Promise.all([
      call(instance.url, '/nowhere'),
      post('{', { 'content-type': 'application/json' }),
      alice.call('GET', "/stories/' or 1=1 --"),
      alice.call('POST', '/stories', { text: '\u0000' }),
      alice.call('POST', '/stories/00000000-0000-4000-8000-000000000000/view'),
    ])
    for (const { status, text: body } of replies) {
      expect(status).toBeGreaterThanOrEqual(400)
      expect(status).toBeLessThan(500)
      expect(body).not.toMatch(
        /\bat .*:\d+|node_modules|\bselect\b|\binsert\b|glimpse\.stories|PostgresError/i,
      )
    }
  })
})

describe('CORS', () => {
  it.each(['POST', 'DELETE'])('lets a page of a listed origin ask before it sends %s', async (method) => {
    const { status, headers } = await call(
      instance.url,
      '/stories/00000000-0000-4000-8000-000000000000/reactions',
      {
        method: 'OPTIONS',
        headers: {
          origin: FRIEND,
          'access-control-request-method': method,
          'access-control-request-headers': 'authorization,content-type',
        },
      },
    )
    expect([200, 204]).toContain(status)
    expect(headers.get('access-control-allow-origin')).toBe(FRIEND)
    expect(headers.get('access-control-allow-credentials')).toBe('true')
    expect(headers.get('access-control-allow-methods')).toContain(method)
    expect(headers.get('access-control-allow-headers')?.toLowerCase()).toMatch(/authorization/)
    expect(headers.get('access-control-allow-headers')?.toLowerCase()).toMatch(/content-type/)
  })

  it('lets it read answers and errors alike', async () => {
    for (const token of [alice.token, 'bad']) {
      const { headers } = await call(instance.url, '/stories', {
        method: 'POST',
        token,
        json: {},
        headers: { origin: FRIEND },
      })
      expect(headers.get('access-control-allow-origin')).toBe(FRIEND)
      expect(headers.get('vary')).toMatch(/\borigin\b/i)
    }
  })

  it('gives nothing to a page of another origin', async () => {
    for (const method of ['OPTIONS', 'POST']) {
      const { headers } = await call(instance.url, '/stories', {
        method,
        token: alice.token,
        headers: { origin: 'https://evil.example', 'access-control-request-method': 'POST' },
      })
      expect(headers.get('access-control-allow-origin')).toBeNull()
    }
  })
})

async function rawGet(path: string): Promise<string> {
  const { hostname, port } = new URL(instance.url)
  const socket = connect(Number(port), hostname)
  socket.write(
    `GET ${path} HTTP/1.1\r\nHost: ${hostname}:${port}\r\nAuthorization: Bearer ${alice.token}\r\nConnection: close\r\n\r\n`,
  )
  return text(socket)
}
