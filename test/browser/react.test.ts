import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import type { Browser } from 'playwright-core'
import { createElement } from 'react'
import { renderToString } from 'react-dom/server'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { GlimpseProvider, useGlimpse } from '../../src/client/react.ts'
import { complaintsOf, launchBrowser } from '../support/browser.ts'
import { type Instance, startInstance } from '../support/instance.ts'
import { openScene } from '../support/scene.ts'

const CLIENT = fileURLToPath(new URL('../../src/client/', import.meta.url))
const PATIENTLY = { timeout: 20_000 }

/** A small application: a badge, a list, and a part that waits for its data (Suspense). */
const APP = `
  import { createElement as h, StrictMode, Suspense, use, useState } from 'react'
  import { createRoot } from 'react-dom/client'
  import { createGlimpse } from '${CLIENT}react.ts'

  const { GlimpseProvider, useGlimpse } = createGlimpse()
  const data = new Promise((resolve) => { window.arrive = resolve })

  function Badge() {
    const { state, unread, markRead } = useGlimpse()
    return h('button', { id: 'badge', onClick: () => markRead() }, state.name + ' ' + unread)
  }
  function List() {
    const [seqs, setSeqs] = useState([])
    // Another function at each render: it sees the newest seqs.
    useGlimpse('story.reacted', (event) => setSeqs([...seqs, event.seq]))
    return h('p', { id: 'list' }, seqs.join(' '))
  }
  function Late() {
    return h('p', { id: 'late' }, use(data))
  }
  function App() {
    const [shown, setShown] = useState(true)
    window.show = setShown
    return h(GlimpseProvider, { url: location.origin, token: window.token, transport: 'websocket' },
      h(Badge), shown && h(List), h(Suspense, { fallback: h('p', { id: 'late' }, 'loading') }, h(Late)))
  }
  window.sockets = []
  window.WebSocket = class extends WebSocket {
    constructor(url) { super(url); window.sockets.push(this) }
  }
  document.body.innerHTML = '<div id="root"></div>'
  const root = createRoot(document.getElementById('root'))
  window.unmount = () => root.unmount()
  root.render(h(StrictMode, null, h(Suspense, { fallback: null }, h(App))))
`

let browser: Browser
let instance: Instance
let bundle: string

beforeAll(async () => {
  ;[browser, instance] = await Promise.all([
    launchBrowser(),
    startInstance({ HEARTBEAT_INTERVAL_MS: '1000' }),
  ])
  const { outputFiles } = await build({
    stdin: { contents: APP, resolveDir: fileURLToPath(new URL('.', import.meta.url)) },
    bundle: true,
    // The development build: only it mounts twice in StrictMode.
    define: { 'process.env.NODE_ENV': '"development"' },
    write: false,
  })
  bundle = outputFiles[0]?.text ?? ''
})

afterAll(async () => {
  await browser?.close()
  await instance?.close()
})

async function openApp() {
  const scene = await openScene(instance.url)
  const page = await browser.newPage()
  onTestFinished(() => page.close())
  const complaints = complaintsOf(page)
  await page.goto(`${instance.url}/livez`)
  await page.evaluate(`window.token = ${JSON.stringify(scene.alice.token)}`)
  await page.evaluate(bundle)
  const text = (id: string) => page.textContent(`#${id}`)
  const sockets = () => page.evaluate('sockets.map((socket) => socket.readyState)')
  await expect.poll(() => text('badge'), PATIENTLY).toMatch(/^live/)
  return { ...scene, page, text, sockets, complaints }
}

describe('useGlimpse', () => {
  it('shows events, state and what is unread, over one connection in StrictMode and with Suspense', async () => {
    const { make, page, text, sockets, complaints } = await openApp()
    await make(3)
    await expect.poll(() => text('list'), PATIENTLY).toBe('1 2 3')
    expect(await text('badge')).toBe('live 3')
    expect(await text('late')).toBe('loading')
    await page.evaluate('arrive("here")')
    await expect.poll(() => text('late'), PATIENTLY).toBe('here')
    await make(1)
    await expect.poll(() => text('list'), PATIENTLY).toBe('1 2 3 4')
    await page.click('#badge')
    await expect.poll(() => text('badge'), PATIENTLY).toBe('live 0')
    expect(await sockets()).toEqual([1])
    expect(complaints).toEqual([])
  })

  it('calls a handler while its component is mounted, and closes when all are gone', async () => {
    const { make, page, text, sockets } = await openApp()
    await page.evaluate('show(false)')
    await make(1)
    await expect.poll(() => text('badge'), PATIENTLY).toBe('live 1')
    await page.evaluate('show(true)')
    await expect.poll(() => text('list'), PATIENTLY).toBe('')
    await make(1)
    await expect.poll(() => text('list'), PATIENTLY).toBe('2')
    expect(await sockets()).toEqual([1])
    await page.evaluate('unmount()')
    await expect.poll(sockets, PATIENTLY).toEqual([3])
  })

  it('renders on a server, where it connects to nothing', () => {
    const Badge = () => {
      const { state, unread, stream } = useGlimpse('story.viewed', () => {})
      return createElement('p', null, `${state.name} ${unread} ${stream}`)
    }
    const fetch = () => {
      throw new Error('a server must not connect')
    }
    const html = renderToString(
      createElement(GlimpseProvider, { url: 'http://127.0.0.1:1', fetch }, createElement(Badge)),
    )
    expect(html).toBe('<p>waiting 0 undefined</p>')
  })

  it('says where the provider is missing', () => {
    const Lost = () => createElement('p', null, useGlimpse().unread)
    expect(() => renderToString(createElement(Lost))).toThrow('there is no GlimpseProvider above')
  })
})
