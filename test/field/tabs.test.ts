import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { call } from '../support/api.ts'
import { bundleClient } from '../support/client-bundle.ts'
import type { Engine, EnginePage } from '../support/engine.ts'
import { ENGINES } from '../support/engines.ts'
import { QUICK } from '../support/follower.ts'
import { type Instance, startInstance } from '../support/instance.ts'
import { openScene } from '../support/scene.ts'
import { upTo } from '../support/sql-writer.ts'

const TRANSPORTS = ['websocket', 'sse', 'poll'] as const
const PATIENTLY = { timeout: 25_000, interval: 100 }

let instance: Instance
let bundle: string
beforeAll(async () => {
  instance = await startInstance({ HEARTBEAT_INTERVAL_MS: '1000', RATE_LIMIT: 'off' })
  bundle = await bundleClient()
})
afterAll(() => instance?.close())

interface Noted {
  readonly seqs: number[]
  readonly states: string[]
  readonly resets: number
  readonly unread: number
  /** It has, or had, a connection of its own. */
  readonly led: boolean
}

interface Tab {
  readonly page: EnginePage
  noted(): Promise<Noted>
}

describe.each(ENGINES)('tabs of one user in %s', (name, launch) => {
  let engine: Engine | undefined
  beforeAll(async () => {
    engine = await launch()
  })
  afterAll(() => engine?.close())
  beforeEach(({ skip }) => skip(engine === undefined, `${name} is not installed here`))

  /** A tab that follows alice's stream. */
  async function openTab(token: string, options: object = {}): Promise<Tab> {
    const page = (await engine?.newPage()) as EnginePage
    onTestFinished(() => void page.close().catch(() => {}))
    await page.goto(`${instance.url}/livez`)
    await page.evaluate(bundle)
    await page.evaluate(`
      globalThis.noted = { seqs: [], states: [], resets: 0, unread: -1, led: false }
      globalThis.stream = glimpse.connect({
        ...${JSON.stringify({ url: instance.url, token, share: 'tabs', timing: QUICK, ...options })},
        onEvent: ({ seq }) => { noted.seqs.push(seq) },
        onState: (state) => { noted.states.push(state.name) },
        onReset: () => { noted.resets++ },
        onUnread: (unread) => { noted.unread = unread },
        debug: (what) => { if (what === 'tabs: leading') noted.led = true },
      })
      0`)
    const noted = () => page.evaluate<Noted>('noted')
    await expect.poll(async () => (await noted()).states.at(-1), PATIENTLY).toBe('live')
    return { page, noted }
  }

  const seqsOf = (tabs: readonly Tab[]) => async () =>
    Promise.all(tabs.map(async (tab) => (await tab.noted()).seqs))

  async function connections(token: string): Promise<number> {
    const { json } = await call<{ connections: unknown[] }>(instance.url, '/me/connections', { token })
    return json.connections.length
  }

  async function leaderOf(tabs: readonly Tab[]): Promise<Tab> {
    for (const tab of tabs) if ((await tab.noted()).led) return tab
    throw new Error('nobody leads')
  }

  it.each(
    TRANSPORTS,
  )('share one connection: each gets every event once and in order, over %s', async (transport) => {
    const { alice, make } = await openScene(instance.url)
    const tabs: Tab[] = []
    // Between the tabs it is the same for each transport, and a page takes an engine seconds to open.
    const count = transport === 'websocket' ? 8 : 4
    for (let i = 0; i < count; i++) tabs.push(await openTab(alice.token, { transport }))
    // A poll is no connection.
    if (transport !== 'poll') expect(await connections(alice.token)).toBe(1)
    await make(5)
    await expect.poll(seqsOf(tabs), PATIENTLY).toEqual(tabs.map(() => upTo(5)))
    const unread = () => Promise.all(tabs.map(async (tab) => (await tab.noted()).unread))
    expect(await unread()).toEqual(tabs.map(() => 5))
    await tabs[count - 2]?.page.evaluate('stream.markRead()')
    await expect.poll(unread, PATIENTLY).toEqual(tabs.map(() => 0))
    for (const tab of tabs) expect((await tab.noted()).led).toBe(tab === tabs[0])
  })

  it('hand the connection on when the tab that has it is closed', async () => {
    const { alice, make } = await openScene(instance.url)
    let tabs = [await openTab(alice.token), await openTab(alice.token), await openTab(alice.token)]
    for (const count of [2, 4]) {
      await make(1)
      await expect.poll(seqsOf(tabs), PATIENTLY).toEqual(tabs.map(() => upTo(count - 1)))
      const leader = await leaderOf(tabs)
      await leader.page.close()
      tabs = tabs.filter((tab) => tab !== leader)
      await make(1)
      await expect.poll(seqsOf(tabs), PATIENTLY).toEqual(tabs.map(() => upTo(count)))
    }
    await expect.poll(() => connections(alice.token), PATIENTLY).toBe(1)
    expect((await tabs[0]?.noted())?.resets).toBe(0)
  })

  it('take the connection over from a tab that hangs, which comes back whole', async () => {
    const { alice, make } = await openScene(instance.url)
    const tabs = [await openTab(alice.token), await openTab(alice.token)]
    const [hanging, other] = tabs as [Tab, Tab]
    await make(1)
    await expect.poll(seqsOf(tabs), PATIENTLY).toEqual([[1], [1]])
    await hanging.page.evaluate(
      'setTimeout(() => { for (const end = Date.now() + 11000; Date.now() < end;); }, 100); 0',
    )
    await new Promise((resolve) => setTimeout(resolve, 300))
    await make(2)
    await expect.poll(async () => (await other.noted()).seqs, PATIENTLY).toEqual([1, 2, 3])
    // Firefox may run both tabs in one process, which then hangs as a whole.
    if (name !== 'Firefox') expect((await other.noted()).led).toBe(true)
    await make(1)
    await expect.poll(seqsOf(tabs), PATIENTLY).toEqual(tabs.map(() => upTo(4)))
    await expect.poll(() => connections(alice.token), PATIENTLY).toBe(1)
  })

  // Only Chromium has a page that crashes.
  it.runIf(name === 'Chromium')('hand the connection on when the tab that has it crashes', async () => {
    const { alice, make } = await openScene(instance.url)
    const tabs = [await openTab(alice.token), await openTab(alice.token)]
    const [crashing, other] = tabs as [Tab, Tab]
    void crashing.page.goto('chrome://crash').catch(() => {})
    await expect.poll(async () => (await other.noted()).led, PATIENTLY).toBe(true)
    await make(2)
    await expect.poll(async () => (await other.noted()).seqs, PATIENTLY).toEqual([1, 2])
  })

  it('begin each at its own place', async () => {
    const { alice, make } = await openScene(instance.url)
    await make(3)
    const first = await openTab(alice.token)
    await make(1)
    const oldest = await openTab(alice.token, { after: 'oldest' })
    const second = await openTab(alice.token)
    await make(1)
    await expect.poll(seqsOf([first, oldest, second]), PATIENTLY).toEqual([[4, 5], upTo(5), [5]])
  })

  it('are woken together with a page that was put away, and nothing is missing', async () => {
    const { alice, make } = await openScene(instance.url)
    const tabs = [await openTab(alice.token), await openTab(alice.token)]
    const [first] = tabs as [Tab]
    await first.page.evaluate('dispatchEvent(new PageTransitionEvent("pagehide", { persisted: true })); 0')
    await make(2)
    await expect.poll(seqsOf(tabs), PATIENTLY).toEqual([[], [1, 2]])
    expect((await first.noted()).states.at(-1)).toBe('waiting')
    await first.page.evaluate('dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true })); 0')
    await make(1)
    await expect.poll(seqsOf(tabs), PATIENTLY).toEqual(tabs.map(() => upTo(3)))
    await expect.poll(() => connections(alice.token), PATIENTLY).toBe(1)
  })

  it('of different users share nothing', async () => {
    const { alice, bob, make } = await openScene(instance.url)
    const tabs = [await openTab(alice.token), await openTab(bob.token)]
    await make(2)
    await expect.poll(seqsOf(tabs), PATIENTLY).toEqual([[1, 2], []])
    expect(await connections(bob.token)).toBe(1)
  })

  it('end together when the user ends their connection from elsewhere', async () => {
    const { alice } = await openScene(instance.url)
    const tabs = [await openTab(alice.token), await openTab(alice.token)]
    const { json } = await call<{ connections: { id: string }[] }>(instance.url, '/me/connections', alice)
    await call(instance.url, `/me/connections/${json.connections[0]?.id}`, {
      method: 'DELETE',
      token: alice.token,
    })
    for (const tab of tabs)
      await expect.poll(() => tab.page.evaluate('stream.state.reason'), PATIENTLY).toBe('ended')
  })
})
