import type { Browser } from 'playwright-core'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { launchBrowser } from '../support/browser.ts'
import { ConsolePage, PANELS, type PanelName } from '../support/console-page.ts'
import { type Instance, startInstance } from '../support/instance.ts'

let browser: Browser
let instance: Instance
let visited: ConsolePage

beforeAll(async () => {
  ;[browser, instance] = await Promise.all([launchBrowser(), startInstance()])
})

afterAll(async () => {
  await browser?.close()
  await instance?.close()
})

afterEach(async () => {
  await visited?.close()
})

async function openAs(author: string): Promise<void> {
  visited = await ConsolePage.openAs(browser, instance.url, author)
}

const outcome = () => visited.guide.textContent()
const numbersIn = (panel: PanelName) => visited.panel(panel).locator('.numbers li').allTextContents()

describe('a newcomer on the console', () => {
  it('sees the first event after one click', async () => {
    visited = await ConsolePage.open(browser, instance.url)
    await visited.press('Show me')
    for (const panel of PANELS) await visited.hears(panel, 2)
    expect(await visited.heard('WebSocket')).toEqual(['1 bob viewed', '2 bob reacted 😍'])
    await expect.poll(() => visited.page.locator('#tally tbody').innerText()).toMatch(/Sunrise.*1.*😍 1/s)
    await expect
      .poll(() => visited.page.locator('#pulse p').textContent())
      .toMatch(/^2 events in the last minute/)
    expect(visited.complaints).toEqual([])
  })

  it('is led by one main button from step to step, to the documents', async () => {
    await openAs('led')
    const main = visited.page.locator('button.primary')
    const next = (label: string) => expect.poll(() => main.allTextContents()).toEqual([label])
    await next('Show me')
    await visited.press('Post a story')
    await next('View it as bob')
    await visited.press('View it as bob')
    await next('Show me')
    // A second look by bob would be no event: another viewer looks.
    await visited.press('Show me')
    await next('Next: cut the connections')
    // The button follows the answer, and events may come after it.
    await visited.hears('WebSocket', 3)
    expect(await visited.heard('WebSocket')).toEqual(['1 bob viewed', '2 carol viewed', '3 carol reacted 😍'])
    await visited.press('Disconnect', visited.panel('WebSocket'))
    await next('Resume')
    await visited.press('Resume', visited.panel('WebSocket'))
    for (const label of ['cut the connections', 'disconnect for 5 s', '30 views at once']) {
      await next(`Next: ${label}`)
      await visited.press(`Next: ${label}`)
      await expect.poll(outcome, { timeout: 30_000 }).toContain('Nothing is missing')
    }
    const end = visited.page.getByRole('link', { name: 'Read the API reference' })
    expect(await end.getAttribute('href')).toBe('/docs')
    expect(await end.evaluate((link) => link === document.activeElement)).toBe(true)
    expect(await main.allInnerTexts()).toEqual([''])
  })
})

describe('what is broken on purpose', () => {
  it.each([
    ['Cut the connections', 'All events 1 to 4 arrived'],
    ['Disconnect for 5 s', 'All events 1 to 5 arrived'],
    ['30 views at once', 'All events 1 to 30 arrived'],
  ])('%s: nothing is missing afterwards, and the page shows it', async (button, words) => {
    await openAs('breaker')
    await visited.press(button)
    await expect.poll(outcome, { timeout: 30_000 }).toContain(words)
    expect(await outcome()).toContain('each once and in order')
    const count = Number(/to (\d+)/.exec(words)?.[1])
    const numbers = Array.from({ length: count }, (_, i) => String(i + 1))
    for (const panel of PANELS) {
      expect(await numbersIn(panel)).toEqual(numbers)
      expect(await visited.fact(panel, 'Completeness')).toBe(`No gap in seq 1–${count}`)
      expect(await visited.fact(panel, 'Cursor')).toMatch(new RegExp(`\\.${count}\\.[0-9a-f]+$`))
    }
    if (button.startsWith('Cut'))
      for (const panel of PANELS)
        await visited
          .panel(panel)
          .getByText(/^Resumed after .*\.[0-4]\.[0-9a-f]+ /)
          .waitFor()
  })
})

describe('what is unread', () => {
  it('is counted in the header and the title, and read in one tab is read in the other', async () => {
    await openAs('reader')
    await visited.post()
    await visited.press('View it as bob')
    await visited.press('React with love')
    const unread = visited.page.locator('#unread')
    await expect.poll(() => unread.textContent()).toBe('2 unread')
    expect(await visited.page.title()).toBe('(2) Glimpse console')

    const [second] = await Promise.all([
      visited.page.context().waitForEvent('page'),
      visited.press('Open a second tab'),
    ])
    const there = second.locator('#unread')
    await expect.poll(() => there.textContent()).toBe('2 unread')
    await second.getByRole('button', { name: 'Mark read' }).click()
    await expect.poll(() => unread.textContent()).toBe('0 unread')
    expect(await visited.page.title()).toBe('Glimpse console')

    await visited.press('React with wow')
    await expect.poll(() => there.textContent()).toBe('1 unread')
  })
})
