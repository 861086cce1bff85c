import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { normalPath } from '../../src/http/path.ts'
import { exchange, statusesOf } from '../security/http/exchange.ts'
import { type Caller, call, newCallers, type Problem } from '../support/api.ts'
import { type Instance, startInstance } from '../support/instance.ts'
import { expectProblem } from '../support/problem.ts'

let instance: Instance
let alice: Caller
beforeAll(async () => {
  instance = await startInstance()
  alice = (await newCallers(instance.url, 'alice'))[0] as Caller
})
afterAll(() => instance.close())

const request = (line: string) =>
  `${line} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${alice.token}\r\n\r\n`

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
    const { answers } = await exchange(instance.url, request(`GET ${path}`))
    expect(answers.map(({ status }) => status)).toEqual([404])
    expect(answers[0]?.headers.get('content-type')).toMatch(/^application\/problem\+json\b/)
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

  it('HEAD is answered as GET, without the body', async () => {
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

  it('leads to the same route however it is written', async () => {
    const head = { method: 'HEAD', token: alice.token }
    expect((await call(instance.url, '/%65vents', head)).status).toBe(405)
    expect(await statusesOf(instance.url, request('GET /%6divez'))).toEqual([404])
    expect(await statusesOf(instance.url, request('GET /%6civez'))).toEqual([200])
    expect(await statusesOf(instance.url, request('GET /livez/%2e%2e/metrics'))).toEqual([404])
  })

  it('has no fragment', async () => {
    expect(await statusesOf(instance.url, request('GET /livez#a'))).toEqual([400])
  })
})

describe('a refusal', () => {
  it('never shows a stack or SQL', async () => {
    const replies = await Promise.all([
      call(instance.url, '/nowhere'),
      call(instance.url, '/stories', {
        method: 'POST',
        token: alice.token,
        body: '{',
        headers: { 'content-type': 'application/json' },
      }),
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
