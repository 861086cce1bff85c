import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { launch } from 'puppeteer-core'
import { launchBrowser } from './browser.ts'
import type { Engine, EnginePage } from './engine.ts'
import { launchWebKit } from './webkit.ts'

const FIREFOXES = [process.env.FIREFOX_PATH, '/usr/bin/firefox-esr', '/usr/bin/firefox', 'firefox'].filter(
  (path): path is string => path !== undefined && path !== '',
)

/** The first Firefox that starts; undefined where there is none. */
export async function findFirefox(): Promise<string | undefined> {
  for (const path of FIREFOXES) {
    const starts = await promisify(execFile)(path, ['--version'], { timeout: 20_000 }).then(
      () => true,
      () => false,
    )
    if (starts) return path
  }
  return undefined
}

async function chromium(): Promise<Engine> {
  const browser = await launchBrowser()
  const context = await browser.newContext()
  return {
    newPage: () => context.newPage() as Promise<EnginePage>,
    close: () => browser.close(),
  }
}

/** Over WebDriver BiDi, because Debian's Firefox is not the patched build that Playwright drives. */
async function firefox(): Promise<Engine | undefined> {
  const executablePath = await findFirefox()
  if (executablePath === undefined) return undefined
  const browser = await launch({ browser: 'firefox', executablePath, headless: true })
  return {
    async newPage() {
      const page = await browser.newPage()
      return {
        goto: (url) => page.goto(url),
        // Puppeteer's own url() misses a page that comes back out of the back-forward cache.
        url: () => page.evaluate('location.href') as Promise<string>,
        evaluate: <Value>(script: string) => page.evaluate(script) as Promise<Value>,
        close: () => page.close(),
      }
    },
    close: () => browser.close(),
  }
}

const ALL: Readonly<Record<string, () => Promise<Engine | undefined>>> = {
  Chromium: chromium,
  Firefox: firefox,
  WebKit: launchWebKit,
}

/**
 * The engines that tests run in: Chromium, which comes with npm, and in `npm run test:field` each of the others. One that
 * this machine lacks gives undefined, and its tests say that they were skipped.
 */
export const ENGINES = Object.entries(ALL).filter(
  ([name]) => name === (process.env.GLIMPSE_FIELD_ENGINE ?? 'Chromium'),
)
