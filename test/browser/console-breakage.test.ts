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

const outcome = () => visited.page.locator('#outcome').textContent()
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
    await visited.press('Show me')
    for (const panel of PANELS) await visited.hears(panel, 4)
    expect((await visited.heard('WebSocket')).slice(2)).toEqual(['3 carol viewed', '4 carol reacted 😍'])
    expect(visited.complaints).toEqual([])
  })
})

describe('what is broken on purpose', () => {
  it.each([
    ['Cut the connections', 'All events 1 to 4 arrived'],
    ['Take a nap, 5 s', 'All events 1 to 5 arrived'],
    ['A burst of 30 views', 'All events 1 to 30 arrived'],
  ])('%s: nothing is missing afterwards, and the page shows it', async (button, words) => {
    await openAs('breaker')
    await visited.press(button)
    await expect.poll(outcome, { timeout: 20_000 }).toContain(words)
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
