import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { build } from 'esbuild'
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { call } from '../support/api.ts'
import { launchBrowser } from '../support/browser.ts'
import type { Engine, EnginePage } from '../support/engine.ts'
import { ENGINES } from '../support/engines.ts'
import { QUICK } from '../support/follower.ts'
import { type Instance, startInstance } from '../support/instance.ts'
import { openScene } from '../support/scene.ts'
import { upTo } from '../support/sql-writer.ts'
import { serveFolder } from '../support/static-site.ts'

const PATIENTLY = { timeout: 30_000, interval: 100 }

/**
 * The streams with which an engine keeps a page in its back-forward cache. Firefox keeps none that has an open connection
 * when it is left, and the headless Chromium of the tests has no such cache: there the page is loaded anew.
 */
const KEEPS: Readonly<Record<string, readonly (readonly [transport: string, options: object])[]>> = {
  WebKit: [
    ['websocket', {}],
    ['sse', {}],
    ['poll', {}],
    ['auto', { share: 'tabs' }],
  ],
  Firefox: [['poll', {}]],
}

let folder: string
let site: Awaited<ReturnType<typeof serveFolder>>
let instance: Instance

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'glimpse-pages-'))
  await build({
    entryPoints: ['src/client/index.ts'],
    bundle: true,
    format: 'iife',
    globalName: 'glimpse',
    outfile: join(folder, 'glimpse.js'),
    logLevel: 'warning',
  })
  await writeFile(join(folder, 'index.html'), `<!doctype html><script src="glimpse.js"></script>`)
  await writeFile(join(folder, 'other.html'), '<!doctype html><p>Another page')
  site = await serveFolder(folder)
  instance = await startInstance({
    HEARTBEAT_INTERVAL_MS: '1000',
    RATE_LIMIT: 'off',
    CORS_ORIGINS: site.origin,
  })
})

afterAll(async () => {
  site?.server.close()
  await instance?.close()
  await rm(folder, { recursive: true, force: true })
})

interface Noted {
  readonly seqs: number[]
  readonly states: string[]
  readonly restored: boolean[]
  readonly resets: number
}

/** Opens a page that follows the stream of the token's user, and gives what it has noted; null where it was loaded anew. */
async function follow(page: EnginePage, token: string, options: object) {
  onTestFinished(() => void page.close().catch(() => {}))
  await page.goto(`${site.origin}/`)
  await page.evaluate(`
    globalThis.noted = { seqs: [], states: [], restored: [], resets: 0 }
    addEventListener('pageshow', ({ persisted }) => { noted.restored.push(persisted) })
    globalThis.stream = glimpse.connect({
      ...${JSON.stringify({ url: instance.url, token, timing: { ...QUICK, pollIntervalMs: 300 }, ...options })},
      onEvent: ({ seq }) => { noted.seqs.push(seq) },
      onState: ({ name }) => { noted.states.push(name) },
      onReset: () => { noted.resets++ },
    })
    0`)
  const noted = () => page.evaluate<Noted | null>('globalThis.noted ?? null').catch(() => null)
  await expect.poll(async () => (await noted())?.states.at(-1), PATIENTLY).toBe('live')
  return { page, noted }
}

async function connections(token: string): Promise<number> {
  const { json } = await call<{ connections: unknown[] }>(instance.url, '/me/connections', { token })
  return json.connections.length
}

describe.each(ENGINES.filter(([name]) => name in KEEPS))('a page that is put away in %s', (name, launch) => {
  let engine: Engine | undefined
  beforeAll(async () => {
    engine = await launch()
  })
  afterAll(() => engine?.close())
  beforeEach(({ skip }) => skip(engine === undefined, `${name} is not installed here`))

  // Firefox does not keep a page that happens to poll at the moment when it is left.
  it.each(KEEPS[name] ?? [])(
    'comes back whole out of the back-forward cache: %s %j',
    { retry: name === 'Firefox' ? 3 : 0, timeout: 60_000 },
    async (transport, options) => {
      const { alice, make } = await openScene(instance.url)
      const { page, noted } = await follow((await engine?.newPage()) as EnginePage, alice.token, {
        transport,
        ...options,
      })
      await make(1)
      await expect.poll(async () => (await noted())?.seqs, PATIENTLY).toEqual([1])
      await page.goto(`${site.origin}/other.html`)
      await expect.poll(() => connections(alice.token), PATIENTLY).toBe(0)
      await make(2)
      // After the answer to this script, which would go down with the page.
      await page.evaluate('setTimeout(() => history.back(), 200); 0')
      await expect.poll(async () => page.url(), PATIENTLY).toBe(`${site.origin}/`)
      await make(1)
      await expect.poll(async () => (await noted())?.seqs, PATIENTLY).toEqual(upTo(4))
      expect(await noted()).toMatchObject({ resets: 0, restored: [true] })
    },
  )
})

describe.runIf(ENGINES.some(([name]) => name === 'Chromium'))('a page that sleeps', () => {
  // The process that runs the page is stopped, as a laptop's lid or a phone does it. The rest of the browser goes on.
  it.each(['websocket', 'sse'])('has missed nothing when it wakes: %s', async (transport) => {
    const { alice, make } = await openScene(instance.url)
    const browser = await launchBrowser()
    onTestFinished(() => browser.close())
    const { noted } = await follow(
      (await (await browser.newContext()).newPage()) as EnginePage,
      alice.token,
      { transport },
    )
    const session = await browser.newBrowserCDPSession()
    const { processInfo } = await session.send('SystemInfo.getProcessInfo')
    const pages = processInfo.filter(({ type }) => type === 'renderer').map(({ id }) => id)
    expect(pages.length).toBeGreaterThan(0)
    const signal = (name: 'SIGSTOP' | 'SIGCONT') => {
      for (const id of pages) process.kill(id, name)
    }
    await make(1)
    await expect.poll(async () => (await noted())?.seqs, PATIENTLY).toEqual([1])
    signal('SIGSTOP')
    onTestFinished(() => signal('SIGCONT'))
    await make(2)
    // Longer than heartbeats may be missing.
    await sleep(3000)
    await make(1)
    signal('SIGCONT')
    await make(1)
    await expect.poll(async () => (await noted())?.seqs, PATIENTLY).toEqual(upTo(5))
    expect(await noted()).toMatchObject({ resets: 0 })
  })
})
