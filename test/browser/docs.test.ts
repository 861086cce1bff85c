import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { html, prose } from '../../src/http/documents/page/html.ts'
import { TASKS } from '../../src/http/documents/tasks.ts'
import { call } from '../support/api.ts'
import { complaintsOf, launchBrowser } from '../support/browser.ts'
import type { AsyncApi, OpenApi } from '../support/documents.ts'
import { type Instance, startInstance } from '../support/instance.ts'

const AXE = createRequire(import.meta.url).resolve('axe-core/axe.min.js')

let instance: Instance
let browser: Browser
beforeAll(async () => {
  instance = await startInstance()
  browser = await launchBrowser()
})
afterAll(async () => {
  await browser?.close()
  await instance?.close()
})

const SCREENS = [
  { colorScheme: 'light', width: 1280 },
  { colorScheme: 'dark', width: 1280 },
  { colorScheme: 'light', width: 390 },
  { colorScheme: 'dark', width: 390 },
] as const

async function openDocs(screen: (typeof SCREENS)[number] = SCREENS[0], bypassCSP = false): Promise<Page> {
  const { colorScheme, width } = screen
  const context = await browser.newContext({ colorScheme, viewport: { width, height: 844 }, bypassCSP })
  onTestFinished(() => context.close())
  return context.newPage()
}

describe('/docs', () => {
  it('asks for nothing but itself, and its policy has nothing to complain of', async () => {
    const page = await openDocs()
    const complaints = complaintsOf(page)
    const requests: string[] = []
    page.on('request', (request) => requests.push(request.url()))
    const answer = await page.goto(`${instance.url}/docs`)
    expect(answer?.status()).toBe(200)
    expect(requests).toEqual([`${instance.url}/docs`])
    expect(complaints).toEqual([])
    const policy = answer?.headers()['content-security-policy']
    expect(policy).toMatch(/^default-src 'none'; style-src 'sha256-/)
    expect(policy).not.toContain('unsafe')
    // The style was let in by its hash.
    expect(
      await page
        .locator('article')
        .first()
        .evaluate((node) => getComputedStyle(node).borderRadius),
    ).toBe('10px')
  })

  it('shows every operation, channel, message and body of the documents, each once', async () => {
    const page = await openDocs()
    await page.goto(`${instance.url}/docs`)
    const openApi = (await call<OpenApi>(instance.url, '/openapi.json')).json as unknown as {
      paths: Record<string, Record<string, { operationId?: string }>>
      components: { schemas: object }
    }
    const asyncApi = (await call<AsyncApi>(instance.url, '/asyncapi.json')).json as unknown as {
      channels: object
      components: { messages: object }
    }
    const operations = Object.values(openApi.paths).flatMap((item) =>
      Object.values(item).flatMap(({ operationId }) => operationId ?? []),
    )
    const wanted = [
      ...operations,
      ...Object.keys(asyncApi.channels).map((name) => `channel-${name}`),
      ...Object.keys(asyncApi.components.messages).map((name) => `message-${name}`),
      ...Object.keys(openApi.components.schemas).map((name) => `schema-${name}`),
    ]
    const shown = await page.locator('article').evaluateAll((nodes) => nodes.map(({ id }) => id))
    expect(shown.sort()).toEqual(wanted.sort())
    const groups = [...TASKS.map(({ name }) => name), 'Streams', 'Messages', 'Bodies']
    expect(await page.locator('nav strong').allTextContents()).toEqual(groups)
  })

  it('has no link that leads nowhere', async () => {
    const page = await openDocs()
    await page.goto(`${instance.url}/docs`)
    const lost = await page
      .locator('a[href^="#"]')
      .evaluateAll((links) =>
        links
          .map((link) => link.getAttribute('href') ?? '')
          .filter((href) => !document.getElementById(href.slice(1))),
      )
    expect(lost).toEqual([])
    const away = await page
      .locator('a:not([href^="#"])')
      .evaluateAll((links) => links.map((link) => link.getAttribute('href') ?? ''))
    expect(away.length).toBeGreaterThan(1)
    for (const path of away) expect((await call(instance.url, path)).status, path).toBe(200)
  })

  it.each(SCREENS)('is accessible and fits the screen: $colorScheme, $width px', async (screen) => {
    // axe comes as a script, which the page's own policy rightly refuses.
    const page = await openDocs(screen, true)
    await page.goto(`${instance.url}/docs`)
    await page.locator('details').evaluateAll((all) => {
      for (const one of all) (one as HTMLDetailsElement).open = true
    })
    await page.addScriptTag({ content: await readFile(AXE, 'utf8') })
    const violations = await page.evaluate(async () => {
      const { axe } = globalThis as unknown as {
        axe: { run(): Promise<{ violations: { id: string; nodes: { html: string }[] }[] }> }
      }
      return (await axe.run()).violations.map(({ id, nodes }) => [
        id,
        nodes.slice(0, 3).map((node) => node.html),
      ])
    })
    expect(violations).toEqual([])
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)
    expect(overflow).toBeLessThanOrEqual(0)
  })

  it('leaves out in production what is not there then', async () => {
    const production = await startInstance({ NODE_ENV: 'production', PAGES: 'on' })
    onTestFinished(() => production.close())
    const { text, status } = await call(production.url, '/docs')
    expect(status).toBe(200)
    expect(text).not.toMatch(/dev\/tokens|NewTokenBody/)
  })
})

describe('markup', () => {
  it('is made of text only where it is said to be markup', () => {
    expect(html`<p title="${'"><script>'}">${'<b>'}${html`<i>${"'&"}</i>`}</p>`.text).toBe(
      '<p title="&quot;&gt;&lt;script&gt;">&lt;b&gt;<i>&#39;&amp;</i></p>',
    )
  })

  it('knows paragraphs, lists and code', () => {
    expect(prose('One `<two>`.\n\n- a\n- b').text).toBe(
      '<p>One <code>&lt;two&gt;</code>.</p><ul><li>a</li><li>b</li></ul>',
    )
  })
})
