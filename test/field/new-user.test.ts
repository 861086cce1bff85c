import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { basename, join } from 'node:path'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { packClient } from '../../scripts/pack-client.ts'
import { launchBrowser } from '../support/browser.ts'
import { openFolder, ROOT, type UserFolder } from '../support/client-package.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { failInTurn, openKillableWorld } from '../support/killable-world.ts'
import { upTo } from '../support/sql-writer.ts'

/** What the quick start tells somebody who has nothing yet, done in an empty folder; `npm run test:field -- client` runs it. */
const inTheField = process.env.GLIMPSE_FIELD === 'on'

const PATIENTLY = { timeout: 30_000, interval: 200 }
const TABS = 8
const SERVICE = 'http://127.0.0.1:8080'

let folder: UserFolder
let database: TestDatabase
let browser: Browser
let context: BrowserContext
let server: ChildProcess | undefined
let origin: string

describe.runIf(inTheField)(
  'the React section of docs/quick-start.md, followed in an empty folder',
  { timeout: 600_000 },
  () => {
    beforeAll(async () => {
      ;[folder, database, browser] = await Promise.all([openFolder(), createDatabase(), launchBrowser()])
      context = await browser.newContext()
      const port = await freePort()
      origin = `http://localhost:${port}`
    }, 120_000)
    afterAll(async () => {
      await browser?.close()
      if (server?.exitCode === null && server.kill('SIGKILL')) await once(server, 'exit')
      await folder?.remove()
      await database?.drop()
    })

    it('shows a story’s views live, eight tabs over one connection, and misses nothing while everything fails in turn', async () => {
      const world = await openKillableWorld(database.url, origin, 'alice')
      await makePage(world.service)

      const pages: Page[] = []
      for (let i = 0; i < TABS; i++) {
        const page = await context.newPage()
        pages.push(page)
        await page.goto(origin)
        await expect.poll(() => page.textContent('body'), PATIENTLY).toContain('live')
      }
      expect(await world.connections()).toBe(1)

      const shown = () =>
        Promise.all(pages.map(async (page) => (await page.textContent('body'))?.match(/viewer-\d+/g)))
      await failInTurn(world, (count) =>
        expect.poll(shown, PATIENTLY).toEqual(pages.map(() => upTo(count).map((nth) => `viewer-${nth}`))),
      )
      // The service that was killed is still listed for a while.
      await expect.poll(world.connections, PATIENTLY).toBe(1)
    })
  },
)

/** The commands and the file of the section, as they stand but for the addresses; then the application's own server. */
async function makePage(service: string): Promise<void> {
  const page = await readFile(join(ROOT, 'docs/quick-start.md'), 'utf8')
  const [, section = ''] = /^## With React\n([\s\S]*?)^## /m.exec(page) ?? []
  const [, commands = ''] = /^```sh\n(npm create vite[\s\S]*?)^```$/m.exec(section) ?? []
  const [, file, code = ''] = /`(src\/App\.\w+)`.*?^```jsx\n([\s\S]*?)^```$/ms.exec(section) ?? []
  expect(code).toContain(SERVICE)
  const archive = await packClient(folder.path)
  const script = commands
    .replace('npm create vite@latest', 'npm create --yes vite@latest')
    .replace(/\S+\/glimpse-client-\S+\.tgz/, `../${basename(archive)}`)
    .replace(/^npm run dev\n/m, '')
  await folder.run('bash', '-ec', `${script}\npwd > ../application`)
  const application = (await readFile(join(folder.path, 'application'), 'utf8')).trim()
  await folder.write({ [`${basename(application)}/${file}`]: code.replaceAll(SERVICE, service) })
  const { port } = new URL(origin)
  // What `npm run dev` starts; npm itself would leave it behind when it is killed.
  const vite = join(application, 'node_modules/vite/bin/vite.js')
  server = spawn(process.execPath, [vite, '--port', port, '--strictPort'], {
    cwd: application,
    stdio: 'ignore',
  })
  await expect
    .poll(
      () =>
        fetch(origin).then(
          ({ ok }) => ok,
          () => false,
        ),
      PATIENTLY,
    )
    .toBe(true)
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, 'localhost')
  await new Promise((resolve) => probe.once('listening', resolve))
  const address = probe.address()
  await new Promise((resolve) => probe.close(resolve))
  return typeof address === 'object' && address !== null ? address.port : 0
}
