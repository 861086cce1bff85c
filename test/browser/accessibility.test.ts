import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { AxeResults } from 'axe-core'
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { launchBrowser } from '../support/browser.ts'
import { type Instance, startInstance } from '../support/instance.ts'

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

let browser: Browser
let instance: Instance
beforeAll(async () => {
  ;[browser, instance] = await Promise.all([launchBrowser(), startInstance()])
})
afterAll(async () => {
  await browser?.close()
  await instance?.close()
})

describe.each(['light', 'dark'] as const)('the console, %s', (colorScheme) => {
  it.each([390, 1280])('has no fault that axe finds, %i wide: empty, in use, and in error', async (width) => {
    const context = await browser.newContext({
      colorScheme,
      reducedMotion: 'reduce',
      viewport: { width, height: 900 },
    })
    onTestFinished(() => context.close())
    const page = await context.newPage()
    await page.goto(instance.url)
    const faults = async () => {
      // As an expression of the debugger's: the page's policy would refuse a script element.
      const { violations } = (await page.evaluate(
        `${AXE}; axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] })`,
      )) as AxeResults
      return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`)
    }
    await page.locator('[data-state="live"]').nth(1).waitFor({ state: 'attached' })
    expect(await faults()).toEqual([])

    await page.getByRole('button', { name: 'Show me' }).click()
    await page.locator('#tally td').first().waitFor()
    await page.locator('#guide', { hasText: 'Now break something' }).waitFor()
    await page.getByRole('button', { name: 'Cut the connections', exact: true }).click()
    await page.locator('#guide', { hasText: 'Nothing is missing' }).waitFor()
    expect(await faults()).toEqual([])
    // Nothing is wider than the page: a phone would have to be scrolled sideways.
    expect(await page.evaluate('document.documentElement.scrollWidth <= innerWidth')).toBe(true)

    await page.getByText('Use your own token (JWT)').first().click()
    await page.getByRole('button', { name: 'Use this token' }).first().click()
    await page.getByRole('alert').filter({ hasText: 'not a JWT' }).waitFor()
    expect(await faults()).toEqual([])
  })
})
