import { request } from 'node:http'
import { networkInterfaces } from 'node:os'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { call } from '../support/api.ts'
import { launchBrowser } from '../support/browser.ts'
import { type Instance, startInstance } from '../support/instance.ts'

let instance: Instance
beforeAll(async () => {
  instance = await startInstance({ DEV_HOSTS: 'dev.example,192.0.2.7', CORS_ORIGINS: 'https://app.example' })
})
afterAll(() => instance.close())

/** The answer to a request for a token under these headers. */
function ask(headers: Record<string, string>): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    request(new URL('/dev/tokens', instance.url), {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
    })
      .on('response', async (response) =>
        resolve({ status: response.statusCode ?? 0, body: await text(response) }),
      )
      .on('error', reject)
      .end('{"user":"alice"}')
  })
}

describe('POST /dev/tokens', () => {
  it.each([
    'localhost',
    'LOCALHOST:8080',
    'glimpse.localhost:8080',
    '127.0.0.1',
    '127.8.9.10:8080',
    '[::1]:8080',
    'dev.example',
    'DEV.example:8080',
    '192.0.2.7',
  ])('gives a token to who calls it %s', async (host) => {
    expect(await ask({ host })).toMatchObject({ status: 200 })
  })

  it.each([
    'rebound.example',
    'localhost.rebound.example',
    '127.0.0.1.rebound.example',
    'notlocalhost',
    'dev.example.rebound.example',
    'x.dev.example',
    '192.0.2.70',
    '0.0.0.0',
  ])('gives none to who calls it %j', async (host) => {
    const { status, body } = await ask({ host })
    expect([status, JSON.parse(body).type]).toEqual([403, 'urn:glimpse:problem:host_not_allowed'])
  })

  it.each([
    'Forwarded',
    'Via',
    'X-Forwarded-For',
    'X-Forwarded-Host',
    'X-Forwarded-Proto',
    'X-Real-IP',
  ])('gives none through a proxy: %s', async (name) => {
    const { status, body } = await ask({ [name]: '127.0.0.1' })
    expect([status, JSON.parse(body).type]).toEqual([403, 'urn:glimpse:problem:host_not_allowed'])
  })

  it.each([
    [{ HOST: '0.0.0.0' }, 404],
    [{ HOST: '0.0.0.0', DEV_TOKENS: 'on' }, 200],
    [{ DEV_TOKENS: 'off' }, 404],
  ])('is there only on a loopback HOST, or where DEV_TOKENS says so: %j', async (environment, status) => {
    const other = await startInstance(environment)
    try {
      const url = other.url.replace('0.0.0.0', '127.0.0.1')
      expect((await call(url, '/dev/tokens', { method: 'POST', json: { user: 'alice' } })).status).toBe(
        status,
      )
    } finally {
      await other.close()
    }
  })

  it('gives none to a peer that is not on the loopback', async (context) => {
    const outer = Object.values(networkInterfaces())
      .flat()
      .find((each) => each?.family === 'IPv4' && !each.internal)
    context.skip(outer === undefined, 'this machine has no other address')
    const other = await startInstance({ HOST: '0.0.0.0', DEV_TOKENS: 'on' })
    try {
      const url = other.url.replace('0.0.0.0', outer?.address ?? '')
      const headers = { host: 'localhost' }
      const status = await new Promise((resolve, reject) => {
        const asked = request(new URL('/dev/tokens', url), { method: 'POST', headers })
        asked.on('response', (response) => resolve(response.resume().statusCode)).on('error', reject)
        asked.end()
      })
      expect(status).toBe(403)
    } finally {
      await other.close()
    }
  })

  it('gives none to pages of other sites, and does to listed ones', async () => {
    expect(await ask({ origin: 'https://app.example' })).toMatchObject({ status: 200 })
    const { status, body } = await ask({ origin: 'https://evil.example' })
    expect([status, JSON.parse(body).type]).toEqual([403, 'urn:glimpse:problem:origin_not_allowed'])
  })

  it('gives none to a page in a browser whose name was pointed here, though it is of the same origin', async () => {
    const browser = await launchBrowser('--host-resolver-rules=MAP rebound.example 127.0.0.1')
    try {
      const page = await browser.newPage()
      const { port } = new URL(instance.url)
      for (const [host, status] of [
        ['rebound.example', 403],
        ['localhost', 200],
      ] as const) {
        await page.goto(`http://${host}:${port}/livez`)
        const answer = await page.evaluate(async () => {
          const response = await fetch('/dev/tokens', {
            method: 'POST',
            headers: { 'content-type': 'application/json' },
            body: '{"user":"alice"}',
          })
          return { status: response.status, body: await response.text() }
        })
        expect(answer.status).toBe(status)
        expect(answer.body.includes('"token"')).toBe(status === 200)
      }
    } finally {
      await browser.close()
    }
  })
})
