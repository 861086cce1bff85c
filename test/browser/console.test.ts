import type { Browser } from 'playwright-core'
import postgres from 'postgres'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { launchBrowser } from '../support/browser.ts'
import { ConsolePage, PANELS, type PanelName } from '../support/console-page.ts'
import { type Instance, startInstance } from '../support/instance.ts'
import { insertViews } from '../support/sql-writer.ts'

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

/** A page of its own, whose author no other test knows. */
async function openAs(author: string, url = instance.url): Promise<ConsolePage> {
  visited = await ConsolePage.openAs(browser, url, author)
  return visited
}

describe('the console', () => {
  it('shows a first visitor a view and a reaction on both transports', async () => {
    visited = await ConsolePage.openLive(browser, instance.url)
    await expect.poll(() => visited.guide.textContent()).toContain('Post a story as alice')

    await visited.post()
    await visited.press('View it as bob')
    for (const panel of PANELS) await visited.hears(panel, 1)
    await visited.press('React with love')

    for (const panel of PANELS) {
      await visited.hears(panel, 2)
      expect(await visited.heard(panel)).toEqual(['1 bob viewed', '2 bob reacted ❤️'])
      expect(await visited.fact(panel, 'Completeness')).toBe('No gap in seq 1–2')
      expect(await visited.fact(panel, 'Cursor')).toMatch(/^[0-9a-z]+\.2\.[0-9a-z]+$/)
    }
    await expect.poll(() => visited.page.locator('#story-totals').textContent()).toBe('1 view · ❤️ 1')
    expect(visited.complaints).toEqual([])
  })

  it.each(PANELS)('resumes %s after its cursor with what happened while away', async (panel) => {
    await openAs('alice')
    await visited.post()
    await visited.press('View it as bob')
    await visited.hears(panel, 1)
    await visited.press('Disconnect', visited.panel(panel))

    const other = PANELS[1 - PANELS.indexOf(panel)] as PanelName
    await visited.press('React with delight')
    await visited.hears(other, 2)
    await visited.press('Another viewer')
    await visited.press('View it as carol')
    await visited.hears(other, 3)
    expect(await visited.heard(panel)).toEqual(['1 bob viewed'])

    await visited.press('Resume', visited.panel(panel))
    await visited.hears(panel, 3)
    await visited.press('React with wow')
    await visited.hears(panel, 4)
    await visited.hears(other, 4)
    expect(await visited.heard(panel)).toEqual(await visited.heard(other))
    expect(await visited.fact(panel, 'Completeness')).toBe('No gap in seq 1–4')
    expect(await visited.fact(panel, 'Received')).toBe('4 events, 2 from while away')
    expect(visited.complaints).toEqual([])
  })

  it('skips what happened while away on Connect, and says so', async () => {
    await openAs('alice')
    await visited.post()
    const panel = visited.panel('WebSocket')
    await visited.press('Disconnect', panel)
    await visited.press('View it as bob')
    await visited.hears('Server-Sent Events', 1)
    await visited.press('Connect', panel)
    await panel.getByText('Connected, listening from now on').nth(1).waitFor()
    await visited.press('React with love')
    await visited.hears('WebSocket', 2)
    expect(await visited.heard('WebSocket')).toEqual(['2 bob reacted ❤️'])
    expect(await visited.fact('WebSocket', 'Completeness')).toBe('No gap in seq 2')
  })

  it('explains why a second look, the same emoji and an own view bring no event', async () => {
    await openAs('alice')
    await visited.post()
    await visited.press('View it as bob')
    await visited.hears('WebSocket', 1)
    await visited.press('View it as bob')
    await expect.poll(() => visited.guide.textContent()).toContain('a second look is no new view')
    await visited.press('React with sad')
    await visited.hears('WebSocket', 2)
    await visited.press('React with sad')
    await expect.poll(() => visited.guide.textContent()).toContain('nothing changed')

    await visited.rename('Viewer', await visited.page.getByLabel('Author’s user id').inputValue())
    await visited.press(/^View it as alice/)
    await expect.poll(() => visited.guide.textContent()).toContain('no event')
    expect(await visited.heard('WebSocket')).toEqual(['1 bob viewed', '2 bob reacted 😢'])
  })

  it('says a problem in plain words', async () => {
    await openAs('alice')
    const story = await visited.post()
    const author = await visited.page.getByLabel('Author’s user id').inputValue()
    const deleted = await fetch(`${instance.url}/stories/${story}`, {
      method: 'DELETE',
      headers: { authorization: `Bearer ${await instance.token(author)}` },
    })
    expect(deleted.status).toBe(204)
    await visited.press('View it as bob')
    await expect.poll(() => visited.error.textContent()).toBe('This story is gone. Post a new one.')
  })

  it('can be worked with the keyboard alone', async () => {
    await openAs('alice')
    const { keyboard } = visited.page
    const focused = () =>
      visited.page.evaluate(() => {
        const node = document.activeElement
        const panel = node?.closest('.panel')?.querySelector('h3')?.textContent ?? ''
        const ring = node === null ? 'none' : getComputedStyle(node).outlineStyle
        return { name: `${node?.getAttribute('aria-label') ?? node?.textContent} ${panel}`.trim(), ring }
      })
    const tabTo = async (name: string) => {
      for (let steps = 0; (await focused()).name !== name; steps += 1) {
        if (steps > 40) throw new Error(`Tab does not reach ${name}`)
        await keyboard.press('Tab')
      }
      expect((await focused()).ring, `focus is visible on ${name}`).toBe('solid')
    }

    await visited.page.getByLabel('Story').focus()
    await keyboard.press('Enter')
    await expect.poll(() => visited.guide.textContent()).toContain('Posted')
    await tabTo('View it as bob')
    await keyboard.press('Enter')
    await visited.hears('Server-Sent Events', 1)
    await tabTo('React with delight')
    await keyboard.press('Space')
    await visited.hears('Server-Sent Events', 2)
    await tabTo('Disconnect Server-Sent Events')
    await keyboard.press('Enter')
    expect((await focused()).name).toBe('Resume Server-Sent Events')
    await keyboard.press('Enter')
    await visited.isLive('Server-Sent Events')
    expect((await focused()).name).toBe('Disconnect Server-Sent Events')
  })

  it('keeps the last 200 rows, counts them all, and hears writers that never met the service', async () => {
    await openAs('alice')
    const story = await visited.post()
    const sql = postgres(instance.database.url, { max: 1 })
    try {
      const viewers = Array.from({ length: 250 }, (_, i) => `viewer-${i}`)
      await insertViews(sql, story, viewers)
    } finally {
      await sql.end()
    }
    for (const panel of PANELS) {
      await visited.hears(panel, 250)
      expect(await visited.fact(panel, 'Completeness')).toBe('No gap in seq 1–250')
      expect(await visited.panel(panel).getByRole('listitem').count()).toBe(200)
    }
  })

  it('calls a hole in the numbers a gap, and a number that comes twice a repetition', async () => {
    visited = await ConsolePage.openLive(browser, instance.url)
    // As text: the test runner rewrites import() in functions to one of its own, which the page does not have.
    const verdicts = await visited.page.evaluate(`import('/console/continuity.js').then(({ Continuity }) =>
      [[7, 8, 9], [7, 9, 12], [7, 8, 8, 9], []].map((numbers) => {
        const continuity = new Continuity()
        for (const seq of numbers) continuity.add(seq)
        return continuity.verdict()
      }))`)
    expect(verdicts).toEqual([
      { sound: true, words: 'No gap in seq 7–9' },
      { sound: false, words: '3 missing in seq 7–12' },
      { sound: false, words: '1 repeated in seq 7–9' },
      { words: 'no events yet' },
    ])
  })
})
