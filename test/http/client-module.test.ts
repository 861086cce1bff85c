import { writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { call } from '../support/api.ts'
import { type Instance, startInstance } from '../support/instance.ts'

let instance: Instance
beforeAll(async () => {
  instance = await startInstance({ CORS_ORIGINS: 'https://app.example' })
})
afterAll(() => instance.close())

describe('GET /client.js', () => {
  it('is one module that any page may import', async () => {
    const { status, headers, text } = await call(instance.url, '/client.js', {
      headers: { origin: 'https://anywhere.example' },
    })
    expect(status).toBe(200)
    expect(headers.get('content-type')).toBe('text/javascript; charset=utf-8')
    expect(headers.get('access-control-allow-origin')).toBe('*')
    expect(headers.get('cross-origin-resource-policy')).toBe('cross-origin')
    expect(text).not.toMatch(/\bfrom\s*["']|\bimport\s*["'(]/)
    const file = join(tmpdir(), `glimpse-client-${process.pid}.mjs`)
    // Without the reference to its map, which lies elsewhere.
    await writeFile(file, text.replace(/^\/\/# sourceMappingURL.*/m, ''))
    const { connect, SignedOutError } = await import(pathToFileURL(file).href)
    expect([typeof connect, new SignedOutError().name]).toEqual(['function', 'SignedOutError'])
  })

  it('has its source map', async () => {
    const { text } = await call(instance.url, '/client.js')
    const [, path = ''] = /\/\/# sourceMappingURL=(.*)$/m.exec(text) ?? []
    const map = await call<{ sources: string[]; sourcesContent: string[] }>(instance.url, path)
    expect(map.headers.get('content-type')).toBe('application/json')
    expect(map.json.sources.some((source) => source.endsWith('src/client/stream.ts'))).toBe(true)
    expect(map.json.sourcesContent).toHaveLength(map.json.sources.length)
  })

  it.each(['/client.js', '/client.js.map'])('is not sent again to whoever has it: %s', async (path) => {
    const etag = (await call(instance.url, path)).headers.get('etag') ?? ''
    expect(etag).toMatch(/^"[\w-]{22}"$/)
    for (const tags of [etag, `W/${etag}`, `"other", ${etag}`, '*']) {
      const { status, text, headers } = await call(instance.url, path, { headers: { 'if-none-match': tags } })
      expect([tags, status, text, headers.get('etag')]).toEqual([tags, 304, '', etag])
      expect(headers.get('access-control-allow-origin')).toBe('*')
    }
    expect((await call(instance.url, path, { headers: { 'if-none-match': '"other"' } })).status).toBe(200)
  })
})
