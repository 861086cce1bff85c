import type { Browser, Locator, Page } from 'playwright-core'
import { uniqueName } from './api.ts'
import { complaintsOf } from './browser.ts'

/** The two live panels, by the names they go by on the page. */
export type PanelName = 'Server-Sent Events' | 'WebSocket'
export const PANELS: readonly PanelName[] = ['Server-Sent Events', 'WebSocket']

/** The console page as a person sees it: everything is found by role and name, as assistive technology finds it. */
export class ConsolePage {
  readonly page: Page
  /** What the browser complained of, see complaintsOf. */
  readonly complaints: readonly string[]

  private constructor(page: Page) {
    this.page = page
    this.complaints = complaintsOf(page)
  }

  /** A fresh visitor: no storage, no cookies. */
  static async open(browser: Browser, url: string): Promise<ConsolePage> {
    const context = await browser.newContext()
    context.setDefaultTimeout(20_000)
    const visited = new ConsolePage(await context.newPage())
    await visited.page.goto(url)
    return visited
  }

  /** As `open`, with both panels live. */
  static async openLive(browser: Browser, url: string): Promise<ConsolePage> {
    const visited = await ConsolePage.open(browser, url)
    for (const panel of PANELS) await visited.isLive(panel)
    return visited
  }

  /** As `openLive`, for an author whom no other test knows. */
  static async openAs(browser: Browser, url: string, author: string): Promise<ConsolePage> {
    const visited = await ConsolePage.openLive(browser, url)
    await visited.rename('Author', uniqueName(author))
    for (const panel of PANELS) await visited.isLive(panel)
    return visited
  }

  async isLive(name: PanelName): Promise<void> {
    await this.panel(name).getByText('live', { exact: true }).waitFor()
  }

  panel(name: PanelName): Locator {
    return this.page.getByRole('region', { name, exact: true })
  }

  /** The line on top that says what has happened and what comes next. */
  get guide(): Locator {
    return this.page.locator('#guide')
  }

  get error(): Locator {
    return this.page.getByRole('alert')
  }

  /** What screen readers are told. */
  get announced(): Locator {
    return this.page.getByRole('status')
  }

  press(name: string | RegExp, within: Locator | Page = this.page): Promise<void> {
    return within.getByRole('button', { name, exact: true }).click()
  }

  async rename(who: 'Author' | 'Viewer', name: string): Promise<void> {
    const field = this.page.getByLabel(`${who}’s user id`)
    await field.fill(name)
    await field.press('Tab')
  }

  /** Posts and gives the new story's id. */
  async post(): Promise<string> {
    const shown = this.page.locator('#story-id')
    const before = await shown.textContent()
    await this.press('Post a story')
    await this.page.waitForFunction(
      (old) => ![null, '', old].includes(document.querySelector('#story-id')?.textContent ?? null),
      before,
    )
    return (await shown.textContent()) ?? ''
  }

  /** Waits until the panel has brought `seq`. */
  async hears(name: PanelName, seq: number, timeout = 20_000): Promise<void> {
    await this.panel(name).locator(`[data-seq="${seq}"]`).waitFor({ timeout })
  }

  /** What the panel has brought, oldest first, as `1 bob viewed`. */
  async heard(name: PanelName): Promise<string[]> {
    const rows = await this.panel(name)
      .locator('li.event')
      .evaluateAll((items) =>
        items.map(
          (item) =>
            `${item.getAttribute('data-seq')} ${item.querySelector('.what')?.textContent?.trim() ?? ''}`,
        ),
      )
    return rows.reverse()
  }

  /** One of the facts under a panel's "Details". */
  async fact(name: PanelName, term: 'Completeness' | 'Cursor' | 'Received'): Promise<string> {
    const details = this.panel(name).locator('details')
    if ((await details.getAttribute('open')) === null) await details.getByText('Details').click()
    const value = this.panel(name).locator('.facts div', { hasText: term }).getByRole('definition')
    return (await value.textContent()) ?? ''
  }

  close(): Promise<void> {
    return this.page.context().close()
  }
}
