import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { launchBrowser } from '../support/browser.ts'
import { BufferingProxy } from '../support/buffering-proxy.ts'
import { QUICK } from '../support/follower.ts'
import { type Instance, startInstance } from '../support/instance.ts'
import { openScene } from '../support/scene.ts'
import { upTo } from '../support/sql-writer.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'

let browser: Browser
let instance: Instance
let bundle: string

beforeAll(async () => {
  ;[browser, instance] = await Promise.all([
    launchBrowser(),
    startInstance({ HEARTBEAT_INTERVAL_MS: '1000', RATE_LIMIT: 'off' }),
  ])
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL('../../src/client/index.ts', import.meta.url))],
    bundle: true,
    format: 'iife',
    globalName: 'glimpse',
    write: false,
  })
  bundle = `${outputFiles[0]?.text}; globalThis.glimpse = glimpse`
})

afterAll(async () => {
  await browser?.close()
  await instance?.close()
})

const scene = () => openScene(instance.url)

async function proxied() {
  const proxy = await TcpProxy.before(instance.url)
  onTestFinished(() => proxy.close())
  return proxy
}

/** A page that follows the stream, and what it has noted down. */
async function follow(url: string, options: object): Promise<{ page: Page; noted(): Promise<Noted> }> {
  const context = await browser.newContext()
  onTestFinished(() => context.close())
  const page = await context.newPage()
  await page.goto(`${url}/livez`)
  await page.evaluate(bundle)
  await page.evaluate(`
    globalThis.noted = { seqs: [], states: [], resets: 0, gaps: 0 }
    globalThis.stream = glimpse.connect({
      ...${JSON.stringify({ url, timing: QUICK, ...options })},
      store: glimpse.localStorageCursor('cursor'),
      onEvent: ({ seq }) => { noted.seqs.push(seq) },
      onState: (state) => noted.states.push(state.transport ? state.name + ' ' + state.transport : state.name),
      onReset: () => { noted.resets++ },
      onGap: () => { noted.gaps++ },
    })`)
  return { page, noted: () => page.evaluate('noted') }
}

interface Noted {
  readonly seqs: number[]
  readonly states: string[]
  readonly resets: number
  readonly gaps: number
}

const patiently = { timeout: 20_000 }

describe.each(['sse', 'websocket', 'auto'])('the client in a browser, transport %s', (transport) => {
  it('misses nothing while its connections are cut, held up, and the network is gone', async () => {
    const { alice, make } = await scene()
    const proxy = await proxied()
    const { page, noted } = await follow(new URL(proxy.urlFor(alice.url)).origin, {
      token: alice.token,
      transport,
    })
    const live = `live ${transport === 'auto' ? 'websocket' : transport}`
    await expect.poll(async () => (await noted()).states, patiently).toContain(live)

    for (let i = 0; i < 4; i++) {
      await make(2)
      proxy.resetAll()
    }
    await expect.poll(async () => (await noted()).seqs, patiently).toEqual(upTo(8))

    proxy.blackhole()
    await make(2)
    await expect.poll(async () => (await noted()).states.at(-1), patiently).not.toContain('live')
    proxy.heal()
    await expect.poll(async () => (await noted()).seqs, patiently).toEqual(upTo(10))

    await page.context().setOffline(true)
    proxy.resetAll()
    await make(2)
    await expect.poll(async () => (await noted()).states.at(-1), patiently).not.toContain('live')
    await page.context().setOffline(false)
    await expect.poll(async () => (await noted()).seqs, patiently).toEqual(upTo(12))
    expect(await noted()).toMatchObject({ resets: 0, gaps: 0 })
  })
})

describe('the client in a browser', () => {
  it('goes on after a reload where the page had come to', async () => {
    const { alice, make } = await scene()
    const { page, noted } = await follow(alice.url, { token: alice.token })
    await expect.poll(async () => (await noted()).states, patiently).toContain('live websocket')
    await make(2)
    await expect.poll(async () => (await noted()).seqs, patiently).toEqual([1, 2])
    const state = await page.context().storageState()
    expect(JSON.stringify(state)).toMatch(/"name":"cursor","value":"[0-9a-z]+\.2[."]/)
    await page.goto('about:blank')
    await make(2)
    await page.goto(`${alice.url}/livez`)
    await page.evaluate(bundle)
    await page.evaluate(`
      globalThis.seqs = []
      glimpse.connect({
        url: ${JSON.stringify(alice.url)}, token: ${JSON.stringify(alice.token)},
        store: glimpse.localStorageCursor('cursor'), onEvent: ({ seq }) => { seqs.push(seq) },
      })`)
    await expect.poll(() => page.evaluate('seqs'), patiently).toEqual([3, 4])
  })

  it.each([
    'online',
    'visibilitychange',
  ])('tries again at once on %s, however long it meant to wait', async (event) => {
    const { alice, make } = await scene()
    const proxy = await proxied()
    const url = new URL(proxy.urlFor(alice.url)).origin
    const timing = { ...QUICK, openTimeoutMs: 500, backoffMs: 600_000, backoffMaxMs: 600_000 }
    const { page, noted } = await follow(url, { token: alice.token, transport: 'sse', timing })
    await expect.poll(async () => (await noted()).states, patiently).toContain('live sse')
    proxy.blackhole()
    proxy.resetAll()
    await expect.poll(async () => (await noted()).states.at(-1), patiently).toBe('waiting')
    proxy.heal()
    await make(1)
    await page.evaluate(
      (name) => (name === 'online' ? globalThis : document).dispatchEvent(new Event(name)),
      event,
    )
    await expect.poll(async () => (await noted()).seqs, patiently).toEqual([1])
  })

  it('polls behind a proxy that lets no stream through', async () => {
    const { alice, make } = await scene()
    const proxy = await BufferingProxy.start(alice.url)
    onTestFinished(() => proxy.close())
    const { noted } = await follow(proxy.url, { token: alice.token, after: 'oldest' })
    await make(3)
    await expect.poll(async () => (await noted()).seqs, patiently).toEqual([1, 2, 3])
    expect((await noted()).states.filter((name) => name.startsWith('live'))).toEqual(['live poll'])
  })
})
