import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Caller, call, newCallers } from '../support/api.ts'
import { type Instance, startInstance } from '../support/instance.ts'

const FRIEND = 'https://app.example'
const APP = 'capacitor://localhost'

let instance: Instance
let alice: Caller
beforeAll(async () => {
  instance = await startInstance({ CORS_ORIGINS: `${FRIEND},${APP}` })
  alice = (await newCallers(instance.url, 'alice'))[0] as Caller
})
afterAll(() => instance.close())

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

  it('lets it read answers and errors', async () => {
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

  it('allows nothing to a page of another origin', async () => {
    for (const method of ['OPTIONS', 'POST']) {
      const { headers } = await call(instance.url, '/stories', {
        method,
        token: alice.token,
        headers: { origin: 'https://evil.example', 'access-control-request-method': 'POST' },
      })
      expect(headers.get('access-control-allow-origin')).toBeNull()
    }
  })

  it.each([FRIEND, APP])('lets %s send what tracing adds', async (origin) => {
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

  it.each([
    FRIEND,
    'https://evil.example',
    `${FRIEND}.evil.example`,
    'null',
    undefined,
  ])('allows a listed origin by name and never all of them (Origin: %s)', async (origin) => {
    for (const [method, path] of [
      ['GET', '/livez'],
      ['OPTIONS', '/stories'],
      ['GET', '/events'],
      ['POST', '/tickets'],
      ['GET', '/nowhere'],
    ] as const) {
      const { headers } = await call(instance.url, path, {
        method,
        headers: origin === undefined ? {} : { origin },
      })
      expect(headers.get('access-control-allow-origin')).toBe(origin === FRIEND ? FRIEND : null)
      expect(headers.get('vary')).toMatch(/\borigin\b/i)
    }
  })
})
