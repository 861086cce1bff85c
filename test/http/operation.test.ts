import { decodeJwt } from 'jose'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { call, type Problem } from '../support/api.ts'
import { open } from '../support/clients/index.ts'
import { type Instance, startInstance } from '../support/instance.ts'

let instance: Instance
beforeAll(async () => {
  instance = await startInstance()
})
afterAll(() => instance.close())

describe('health', () => {
  it.each(['/livez', '/readyz', '/healthz'])('%s is 200 without a token', async (path) => {
    const { status, headers } = await call(instance.url, path)
    expect(status).toBe(200)
    expect(headers.get('cache-control')).toContain('no-store')
  })
})

describe('/metrics', () => {
  it('is Prometheus text', async () => {
    const { status, headers, text } = await call(instance.url, '/metrics')
    expect(status).toBe(200)
    expect(headers.get('content-type')).toMatch(/^text\/plain\b/)
    expect(text).toMatch(/^# TYPE glimpse_\w+ (counter|gauge|histogram)$/m)
  })
})

describe('POST /dev/tokens', () => {
  it('gives a token that opens a stream and writes', async () => {
    const { status, json } = await call<{ token: string }>(instance.url, '/dev/tokens', {
      method: 'POST',
      json: { user: 'dev-alice', expires_in: 120 },
    })
    expect(status).toBeLessThan(300)
    const { sub, exp } = decodeJwt(json.token)
    expect(sub).toBe('dev-alice')
    expect((exp ?? 0) - Date.now() / 1000).toBeGreaterThan(100)
    expect((exp ?? 0) - Date.now() / 1000).toBeLessThan(125)
    await open('sse', { url: instance.url, token: json.token })
  })

  it.each([
    {},
    { user: '' },
    { user: 5 },
    { user: 'a'.repeat(129) },
    { user: 'a\nb' },
  ])('rejects %j and names the field', async (body) => {
    const { status, json } = await call<Problem>(instance.url, '/dev/tokens', {
      method: 'POST',
      json: body,
    })
    expect(status).toBe(400)
    expect(`${json.detail} ${json.field}`).toContain('user')
  })

  it('does not exist in production', async () => {
    const production = await startInstance({ NODE_ENV: 'production' })
    try {
      const { status } = await call(production.url, '/dev/tokens', {
        method: 'POST',
        json: { user: 'alice' },
      })
      expect(status).toBe(404)
    } finally {
      await production.close()
    }
  })
})
