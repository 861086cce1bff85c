import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import type { Browser } from 'playwright-core'
import postgres, { type Sql } from 'postgres'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { uniqueName } from '../support/api.ts'
import { launchBrowser } from '../support/browser.ts'
import { ConsolePage, PANELS } from '../support/console-page.ts'
import { type Instance, startInstance } from '../support/instance.ts'
import { insertStory, insertViews, upTo } from '../support/sql-writer.ts'

let browser: Browser
let instance: Instance
let sql: Sql
let visited: ConsolePage

beforeAll(async () => {
  ;[browser, instance] = await Promise.all([launchBrowser(), startInstance()])
  sql = postgres(instance.database.url, { max: 1 })
})

afterAll(async () => {
  await browser?.close()
  await sql?.end()
  await instance?.close()
})

afterEach(async () => {
  await visited?.close()
})

const seqs = (many: number, first: number) => upTo(many).map((i) => String(first + i - 1))

describe('a panel that has just been opened', () => {
  it('shows the last 20 events that the log kept, and continues after them without a gap', async () => {
    const author = uniqueName('kept')
    const story = await insertStory(sql, author)
    await insertViews(
      sql,
      story,
      upTo(30).map((i) => `viewer-${i}`),
    )
    visited = await ConsolePage.openLive(browser, instance.url)
    await visited.rename('Author', author)
    for (const panel of PANELS) {
      await visited.hears(panel, 30)
      expect(await visited.panel(panel).locator('.numbers .kept').allTextContents()).toEqual(seqs(20, 11))
      expect(await visited.fact(panel, 'Received')).toBe('0 events, 20 more from before')
      expect(await visited.fact(panel, 'Completeness')).toBe('No gap in seq 11–30')
    }
    await insertViews(sql, story, ['one-more'])
    for (const panel of PANELS) {
      await visited.hears(panel, 31)
      expect((await visited.heard(panel)).at(-1)).toBe('31 one-more viewed')
      expect(await visited.fact(panel, 'Completeness')).toBe('No gap in seq 11–31')
    }
    expect(visited.complaints).toEqual([])
  })

  it('shows the whole of a history that is shorter', async () => {
    const author = uniqueName('trimmed')
    const story = await insertStory(sql, author)
    await insertViews(
      sql,
      story,
      upTo(5).map((i) => `viewer-${i}`),
    )
    visited = await ConsolePage.openLive(browser, instance.url)
    await visited.rename('Author', author)
    for (const panel of PANELS) {
      await visited.hears(panel, 5)
      expect(await visited.panel(panel).locator('.numbers .kept').allTextContents()).toEqual(seqs(5, 1))
    }
  })
})

describe('an event of a type of one’s own', () => {
  it('is shown by its type and its data, whatever that is', async () => {
    visited = await ConsolePage.openAs(browser, instance.url, 'own')
    const author = await visited.page.getByLabel('Author’s user id').inputValue()
    const append = (type: string, data: string) =>
      sql`select glimpse.append(row(${author}, ${type}, ${data}::text::json, now())::glimpse.new_event)`
    await append('comment.added', '{"comment_id":7,"user_id":"bob"}')
    await append('shop.sold', 'null')
    await append('note.long', JSON.stringify({ text: 'x'.repeat(500) }))
    for (const panel of PANELS) {
      await visited.hears(panel, 3)
      const heard = await visited.heard(panel)
      expect(heard.slice(0, 2)).toEqual([
        '1 comment.added {"comment_id":7,"user_id":"bob"}',
        '2 shop.sold null',
      ])
      expect(heard[2]).toMatch(/^3 note\.long \{"text":"x{100,120} …$/)
    }
    expect(await visited.page.locator('#tally tbody tr').count()).toBe(0)
    expect(visited.complaints).toEqual([])
  })
})

describe('a button that is off', () => {
  it('can be found by keyboard, has its reason beside it, and does nothing', async () => {
    visited = await ConsolePage.openAs(browser, instance.url, 'off')
    const off = await visited.page.locator('button[aria-disabled="true"]').evaluateAll((buttons) =>
      buttons.map((button) => {
        const reason = document.getElementById(button.getAttribute('aria-describedby') ?? '')
        button.focus()
        return {
          name: button.getAttribute('aria-label') ?? button.textContent?.trim(),
          focused: document.activeElement === button,
          reason: reason?.checkVisibility() ? reason.textContent : undefined,
        }
      }),
    )
    const noStory = { focused: true, reason: 'There is no story yet: post one first.' }
    expect(off).toEqual([
      { name: 'Mark read', focused: true, reason: '0 unread' },
      { name: 'View it as bob', ...noStory },
      ...['love', 'laugh', 'wow', 'sad', 'delight', 'cool'].map((name) => ({
        name: `React with ${name}`,
        ...noStory,
      })),
    ])
    const said = await visited.guide.textContent()
    await visited.page.keyboard.press('Enter')
    await visited.page.getByRole('button', { name: 'View it as bob' }).click({ force: true })
    expect(await visited.guide.textContent()).toBe(said)
    expect(await visited.error.count()).toBe(0)
  })

  it('says during a breakage that one runs at a time', async () => {
    visited = await ConsolePage.openAs(browser, instance.url, 'off')
    await visited.press('Disconnect for 5 s')
    const cut = visited.page.getByRole('button', { name: 'Cut the connections', exact: true })
    expect(await cut.getAttribute('aria-disabled')).toBe('true')
    expect(await visited.page.locator('#break-reason').textContent()).toContain('One at a time')
    await expect.poll(() => cut.getAttribute('aria-disabled'), { timeout: 30_000 }).toBe('false')
    expect(await visited.page.locator('#break-reason').textContent()).toBe('')
  })
})

describe('a screen reader', () => {
  it('is told of states, events and what comes next in one live region, a burst in one sentence', async () => {
    visited = await ConsolePage.openAs(browser, instance.url, 'heard')
    const regions = visited.page.locator('[aria-live], [role=status], [role=log], [role=alert], output')
    expect(await regions.evaluateAll((all) => all.map(({ id }) => id))).toEqual(['error', 'live'])
    const told: string[] = []
    await visited.page.exposeFunction('told', (text: string) => told.push(text))
    await visited.page.evaluate(() => {
      const live = document.querySelector('#live')
      const { told } = globalThis as unknown as { told(text: string): void }
      new MutationObserver(() => told(live?.textContent ?? '')).observe(live as Node, { childList: true })
    })
    await visited.post()
    await visited.press('View it as bob')
    await expect.poll(() => told.join(' ')).toMatch(/Event 1: bob viewed\. .*bob viewed it\. React/)
    await visited.press('Disconnect', visited.panel('WebSocket'))
    await expect.poll(() => told.join(' ')).toContain('WebSocket: disconnected.')
    await visited.press('Resume', visited.panel('WebSocket'))
    await expect.poll(() => told.join(' ')).toContain('WebSocket: live.')
    const before = told.length
    await visited.press('30 views at once')
    await expect.poll(() => told.join(' '), { timeout: 30_000 }).toContain('Nothing is missing')
    expect(told.slice(before).join(' ')).toMatch(/\d+ events, the last: Event \d+: \S+ viewed\./)
  })
})

describe('the page on a phone', () => {
  it('shows one stream at a time, chosen by tabs', async () => {
    visited = await ConsolePage.openLive(browser, instance.url)
    const { page } = visited
    expect(await page.getByRole('tab').count()).toBe(0)
    await page.setViewportSize({ width: 390, height: 844 })
    const panel = (name: string) => page.getByRole('tabpanel', { name })
    const shown = async () => ({
      sse: await panel('Server-Sent Events').isVisible(),
      websocket: await panel('WebSocket').isVisible(),
      selected: await page.getByRole('tab', { selected: true }).allTextContents(),
    })
    // The page learns of its new width a moment later.
    await expect.poll(shown).toEqual({ sse: true, websocket: false, selected: ['Server-Sent Events'] })
    await page.getByRole('tab', { name: 'WebSocket' }).click()
    expect(await shown()).toEqual({ sse: false, websocket: true, selected: ['WebSocket'] })
    await page.keyboard.press('ArrowRight')
    expect(await shown()).toEqual({ sse: true, websocket: false, selected: ['Server-Sent Events'] })
    expect(await page.evaluate(() => document.activeElement?.textContent)).toBe('Server-Sent Events')

    await page.setViewportSize({ width: 1280, height: 900 })
    for (const name of PANELS) await visited.panel(name).waitFor()
  })

  it('keeps what comes next in sight while the panels are', async () => {
    visited = await ConsolePage.openLive(browser, instance.url)
    const { page } = visited
    await page.setViewportSize({ width: 390, height: 844 })
    await visited.press('Show me')
    await page.getByRole('button', { name: 'Next: cut the connections' }).waitFor()
    const inSight = await page
      .locator('#next, #sse .log')
      .evaluateAll((all) =>
        all.map((node) => node.getBoundingClientRect()).map(({ top }) => top >= 0 && top < innerHeight),
      )
    expect(inSight).toEqual([true, true])
  })
})

describe('the same with curl', () => {
  it('is a script that can be pasted whole: it tells its stream of a story of its own', async () => {
    visited = await ConsolePage.openAs(browser, instance.url, "o'hara")
    await visited.page.getByLabel('Story').fill('it’s "quoted" $HOME')
    const id = await visited.post()
    await visited.press('View it as bob')
    await visited.press('React with love')
    await visited.press('Another viewer')
    await visited.press('View it as carol')
    await visited.hears('WebSocket', 3)
    const script = await visited.page.locator('#commands').textContent()
    expect(script).not.toContain(id)
    // The stream has a moment for the last event.
    const { stdout } = await promisify(execFile)('sh', ['-c', `${script}\nsleep 1\nkill $!`], {
      timeout: 30_000,
    })
    const events = stdout
      .match(/^data: .*"type":"story\..*$/gm)
      ?.map((line) => JSON.parse(line.slice(6)).data)
    expect(events?.map(({ viewer_id, user_id, emoji }) => [viewer_id ?? user_id, emoji])).toEqual([
      ['bob', undefined],
      ['bob', '❤️'],
      ['carol', undefined],
    ])
    const [own] = events ?? []
    expect(own.story_id).not.toBe(id)
    const [row] = await sql`select text from glimpse.stories where id = ${own.story_id}`
    expect(row?.text).toBe('it’s "quoted" $HOME')
  })
})
