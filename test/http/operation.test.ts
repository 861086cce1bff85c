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

describe('ADMIN_PORT', () => {
  it('takes the metrics off PORT, and serves health on both', async () => {
    const apart = await startInstance({ ADMIN_PORT: '0' })
    try {
      const admin = apart.adminUrl ?? ''
      expect(admin).not.toBe(apart.url)
      const status = async (url: string, path: string) => (await call(url, path)).status
      for (const path of ['/livez', '/readyz', '/healthz'])
        expect([await status(apart.url, path), await status(admin, path)]).toEqual([200, 200])
      expect([await status(apart.url, '/metrics'), await status(admin, '/metrics')]).toEqual([404, 200])
      // As a proxy that compares texts would let it through.
      expect(await status(apart.url, '/%6detrics')).toBe(404)
      for (const path of ['/', '/events', '/stories', '/openapi.json', '/docs', '/dev/tokens'])
        expect(await status(admin, path), path).toBe(404)
    } finally {
      await apart.close()
    }
  })

  it('tells a probe that an instance drains, until that is gone', async () => {
    const apart = await startInstance({ ADMIN_PORT: '0', DRAIN_TIMEOUT_MS: '1000' })
    const caller = await apart.caller('ann')
    await open('sse', caller)
    const drained = apart.drain()
    const { status, json } = await call<{ reasons: string[] }>(apart.adminUrl ?? '', '/readyz')
    expect([status, json.reasons]).toEqual([503, ['draining']])
    await drained
    await expect(call(apart.adminUrl ?? '', '/livez')).rejects.toThrow()
    await apart.close()
  })
})

describe('PAGES', () => {
  const PAGES = ['/', '/console/main.js', '/docs', '/openapi.json', '/asyncapi.json']
  it.each([
    [{}, 200],
    [{ PAGES: 'off' }, 404],
    [{ NODE_ENV: 'production' }, 404],
    [{ NODE_ENV: 'production', PAGES: 'on' }, 200],
  ])('with %j they are %i', async (environment, expected) => {
    const served = await startInstance(environment)
    try {
      for (const path of PAGES) expect((await call(served.url, path)).status, path).toBe(expected)
      expect((await call(served.url, '/readyz')).status).toBe(200)
    } finally {
      await served.close()
    }
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
    { user: 'a'.repeat(256) },
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
