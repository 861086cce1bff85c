/**
 * Makes the pictures of the console page in docs/screenshots, at phone and desktop width, light and dark:
 * `npm run screenshots`. Each is of a service that has just been started, on an embedded Postgres of its own.
 */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Browser } from 'playwright-core'
import { parseConfig } from '../src/config.ts'
import { createLogger } from '../src/observability/log.ts'
import { startService } from '../src/service.ts'
import { launchBrowser } from '../test/support/browser.ts'

const FOLDER = fileURLToPath(new URL('../docs/screenshots/', import.meta.url))

const WIDTHS = { phone: { width: 390, height: 844 }, desktop: { width: 1280, height: 900 } } as const
const SCHEMES = ['light', 'dark'] as const

const browser = await launchBrowser()
try {
  await mkdir(FOLDER, { recursive: true })
  for (const width of ['phone', 'desktop'] as const) {
    for (const scheme of SCHEMES) {
      const dataDir = await mkdtemp(join(tmpdir(), 'glimpse-screenshots-'))
      const parsed = parseConfig({ PORT: '0', DATA_DIR: dataDir, LOG_LEVEL: 'warn' })
      if (!parsed.ok) throw new Error(parsed.problems.join('; '))
      const service = await startService(parsed.config, createLogger(parsed.config.logLevel))
      try {
        await shoot(browser, service.url, width, scheme)
      } finally {
        await service.close()
        await rm(dataDir, { recursive: true, force: true })
      }
    }
  }
} finally {
  await browser.close()
}

async function shoot(
  from: Browser,
  url: string,
  width: keyof typeof WIDTHS,
  scheme: (typeof SCHEMES)[number],
): Promise<void> {
  const context = await from.newContext({
    viewport: WIDTHS[width],
    colorScheme: scheme,
    reducedMotion: 'reduce',
    deviceScaleFactor: width === 'phone' ? 2 : 1,
  })
  const page = await context.newPage()
  await page.goto(url)
  await page.getByRole('button', { name: 'Show me' }).click()
  await page.locator('#websocket [data-seq="2"]').waitFor({ state: 'attached' })
  for (const name of ['30 views at once', 'Cut the connections', 'Disconnect for 5 s']) {
    await page.getByRole('button', { name, exact: true }).click()
    await page.locator('#cut[aria-disabled="false"]').waitFor()
  }
  await page.locator('#tally td').first().waitFor()
  // A phone's whole page would be a strip ten times as long as wide: it shows the part that lives.
  if (width === 'phone') await page.locator('#hear').evaluate((hear) => hear.scrollIntoView())
  else await page.evaluate(() => scrollTo(0, 0))
  await writeFile(
    join(FOLDER, `${width}-${scheme}.png`),
    await page.screenshot({ fullPage: width === 'desktop' }),
  )
  await context.close()
  console.log(`docs/screenshots/${width}-${scheme}.png`)
}
