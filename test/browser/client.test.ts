import type { Browser, BrowserContext, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { call } from '../support/api.ts'
import { launchBrowser } from '../support/browser.ts'
import { BufferingProxy } from '../support/buffering-proxy.ts'
import { bundleClient } from '../support/client-bundle.ts'
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
  bundle = await bundleClient()
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
async function follow(
  url: string,
  options: object,
  context?: BrowserContext,
): Promise<{ page: Page; noted(): Promise<Noted> }> {
  const own = context ?? (await browser.newContext())
  if (context === undefined) onTestFinished(() => own.close())
  const page = await own.newPage()
  return { page, noted: await followOn(page, url, options) }
}

async function followOn(page: Page, url: string, options: object): Promise<() => Promise<Noted>> {
  await page.goto(`${url}/livez`)
  await page.evaluate(bundle)
  await page.evaluate(`
    globalThis.noted = { seqs: [], states: [], reasons: [], resets: 0, gaps: 0 }
    globalThis.stream = glimpse.connect({
      ...${JSON.stringify({ url, timing: QUICK, ...options })},
      store: glimpse.localStorageCursor('cursor'),
      onEvent: ({ seq }) => { noted.seqs.push(seq) },
      onState: (state) => {
        noted.states.push(state.transport ? state.name + ' ' + state.transport : state.name)
        if (state.name === 'waiting') noted.reasons.push(state.reason)
      },
      onReset: () => { noted.resets++ },
      onGap: () => { noted.gaps++ },
    })`)
  return () => page.evaluate('noted')
}

interface Noted {
  readonly seqs: number[]
  readonly states: string[]
  readonly reasons: string[]
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

  it('remembers for the session that only polling works, and tries better ways again', async () => {
    const { alice, make } = await scene()
    const proxy = await BufferingProxy.start(alice.url)
    onTestFinished(() => proxy.close())
    const options = { token: alice.token, after: 'oldest' }
    const { page, noted } = await follow(proxy.url, options)
    await expect.poll(async () => (await noted()).states, patiently).toContain('live poll')
    await page.reload()
    const timing = { ...QUICK, upgradeMs: 500 }
    const again = await followOn(page, proxy.url, { ...options, timing })
    await make(1)
    await expect.poll(async () => (await again()).seqs, patiently).toEqual([1])
    const { states } = await again()
    expect(states.slice(0, 2)).toEqual(['connecting poll', 'live poll'])
    await expect.poll(async () => (await again()).states, patiently).toContain('connecting websocket')
    await make(1)
    await expect.poll(async () => (await again()).seqs, patiently).toEqual([1, 2])
  })

  it('notices at once that the browser is offline, and that it is back', async () => {
    const { alice, make } = await scene()
    const { page, noted } = await follow(alice.url, { token: alice.token })
    await expect.poll(async () => (await noted()).states, patiently).toContain('live websocket')
    await page.context().setOffline(true)
    await expect.poll(async () => (await noted()).reasons[0]).toBe('the browser is offline')
    await make(2)
    await page.context().setOffline(false)
    await expect.poll(async () => (await noted()).seqs, patiently).toEqual([1, 2])
    expect((await noted()).states.at(-1)).toBe('live websocket')
  })

  it('gives its connection back while the page is frozen, and comes back whole', async () => {
    const { alice, make } = await scene()
    const { page, noted } = await follow(alice.url, { token: alice.token })
    await expect.poll(async () => (await noted()).states, patiently).toContain('live websocket')
    const events = (name: string) => page.evaluate((type) => document.dispatchEvent(new Event(type)), name)
    await events('freeze')
    await expect.poll(async () => (await noted()).reasons, patiently).toEqual(['the page is put away'])
    const { json } = await call<{ connections: unknown[] }>(alice.url, '/me/connections', alice)
    expect(json.connections).toEqual([])
    await make(2)
    await events('resume')
    await expect.poll(async () => (await noted()).seqs, patiently).toEqual([1, 2])
    expect(await noted()).toMatchObject({ resets: 0, gaps: 0 })
  })

  it('that was replaced comes back when somebody looks at it, and not before', async () => {
    const small = await startInstance({ MAX_CONNECTIONS_PER_USER: '1', RATE_LIMIT: 'off' }, instance)
    onTestFinished(() => small.close())
    const { alice, make } = await scene()
    const context = await browser.newContext()
    onTestFinished(() => context.close())
    const options = { token: alice.token, transport: 'websocket' }
    const first = await follow(small.url, options, context)
    await expect.poll(async () => (await first.noted()).states.at(-1), patiently).toBe('live websocket')
    const second = await follow(small.url, options, context)
    await expect
      .poll(async () => (await first.noted()).reasons, patiently)
      .toEqual(['a newer connection took its place'])
    await first.page.evaluate("dispatchEvent(new Event('online'))")
    await new Promise((resolve) => setTimeout(resolve, 1500))
    expect((await second.noted()).states.at(-1)).toBe('live websocket')
    await make(1)
    await first.page.evaluate("dispatchEvent(new Event('focus'))")
    await expect.poll(async () => (await first.noted()).seqs, patiently).toEqual([1])
    await expect.poll(async () => (await second.noted()).states.at(-1), patiently).toBe('waiting')
  })

  it('says so where other streams have taken the six connections to the host', async () => {
    const { alice, make } = await scene()
    const context = await browser.newContext()
    onTestFinished(() => context.close())
    const page = await context.newPage()
    await page.goto(`${alice.url}/livez`)
    // In one page: a seventh page could not even be loaded.
    await page.evaluate(bundle)
    await page.evaluate(`
      globalThis.all = Array.from({ length: 7 }, () => {
        const noted = { states: [], reasons: [], seqs: [] }
        noted.stream = glimpse.connect({
          ...${JSON.stringify({ url: alice.url, token: alice.token, transport: 'sse', timing: QUICK })},
          onEvent: ({ seq }) => { noted.seqs.push(seq) },
          onState: (state) => { noted.states.push(state.name); if (state.reason) noted.reasons.push(state.reason) },
        })
        return noted
      })
      0`)
    const reasons = () => page.evaluate<string[]>('all.flatMap(({ reasons }) => reasons)')
    await expect
      .poll(reasons, patiently)
      .toContain('other streams hold the browser’s six HTTP/1.1 connections')
    await page.evaluate("all.find(({ states }) => states.at(-1) === 'live').stream.close()")
    // One that opened only after the event was made would begin behind it.
    const live = () => page.evaluate<number>("all.filter(({ states }) => states.at(-1) === 'live').length")
    await expect.poll(live, patiently).toBe(6)
    await make(1)
    const seqs = () => page.evaluate<number[][]>('all.map(({ seqs }) => seqs)')
    await expect.poll(async () => (await seqs()).filter((each) => each.length > 0).length, patiently).toBe(6)
  })
})
