import type { Browser } from 'playwright-core'
import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { launchBrowser } from '../support/browser.ts'
import { ConsolePage, PANELS } from '../support/console-page.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { type MainProcess, spawnInstance } from '../support/instance.ts'
import { insertViews } from '../support/sql-writer.ts'

let browser: Browser
let database: TestDatabase
let main: MainProcess & { url: string }

beforeAll(async () => {
  ;[browser, database] = await Promise.all([launchBrowser(), createDatabase()])
  main = await spawnInstance({ DATABASE_URL: database.url, DRAIN_TIMEOUT_MS: '1000' })
})

afterAll(async () => {
  await browser?.close()
  await main?.kill('SIGKILL')
  await database?.drop()
})

describe('the console while the service is away', () => {
  it.each(['SIGKILL', 'SIGTERM'] as const)('comes back by itself after %s, with nothing lost', {
    timeout: 120_000,
  }, async (signal) => {
    const visited = await ConsolePage.openAs(browser, main.url, `alice-${signal}`)
    const story = await visited.post()
    await visited.press('View it as bob')
    for (const panel of PANELS) await visited.hears(panel, 1)

    await main.kill(signal)
    for (const panel of PANELS)
      await visited.panel(panel).locator('.state').filter({ hasNotText: 'live' }).waitFor()
    await visited.press('React with love')
    await expect.poll(() => visited.error.textContent()).toContain('cannot be reached')
    const sql = postgres(database.url, { max: 1 })
    await insertViews(sql, story, ['carol', 'dave'])
    await sql.end()

    const port = new URL(main.url).port
    main = await spawnInstance({ DATABASE_URL: database.url, DRAIN_TIMEOUT_MS: '1000', PORT: port })
    // The longer the service was away, the longer the page waits before it tries again: up to 30 s.
    for (const panel of PANELS) await visited.hears(panel, 3, 45_000)
    await visited.press('React with love')
    for (const panel of PANELS) {
      await visited.hears(panel, 4)
      expect(await visited.heard(panel)).toHaveLength(4)
      expect(await visited.fact(panel, 'Completeness')).toBe('No gap in seq 1–4')
    }
    expect(await visited.error.count()).toBe(0)
    await visited.close()
  })
})
