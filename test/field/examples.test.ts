import { cp, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { build } from 'vite'
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { uniqueName } from '../support/api.ts'
import { folderWithClient, ROOT, type UserFolder } from '../support/client-package.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import type { Engine, EnginePage } from '../support/engine.ts'
import { ENGINES } from '../support/engines.ts'
import { failInTurn, openKillableWorld } from '../support/killable-world.ts'
import { upTo } from '../support/sql-writer.ts'
import { serveFolder } from '../support/static-site.ts'

const PATIENTLY = { timeout: 30_000, interval: 100 }
const TABS = 8

let folder: UserFolder
let database: TestDatabase
const sites = new Map<string, Awaited<ReturnType<typeof serveFolder>>>()

beforeAll(async () => {
  ;[folder, database] = await Promise.all([folderWithClient(), createDatabase()])
  // As a user has it: the example, the package, React, and Vite.
  await cp(join(ROOT, 'docs/examples/react'), folder.path, { recursive: true })
  for (const name of ['react-dom', 'scheduler'])
    await symlink(join(ROOT, 'node_modules', name), join(folder.path, 'node_modules', name)).catch(() => {})
  await build({ root: folder.path, logLevel: 'silent' })
  sites.set('react', await serveFolder(join(folder.path, 'dist')))
  sites.set('plain', await serveFolder(join(ROOT, 'docs/examples/plain')))
})

afterAll(async () => {
  for (const { server } of sites.values()) server.close()
  await folder?.remove()
  await database?.drop()
})

describe.each(ENGINES)('the example applications in %s', (name, launch) => {
  let engine: Engine | undefined
  beforeAll(async () => {
    engine = await launch()
  })
  afterAll(() => engine?.close())
  beforeEach(({ skip }) => skip(engine === undefined, `${name} is not installed here`))

  // One engine is enough for the page whose client is the same.
  const examples = name === 'Chromium' ? ['react', 'plain'] : ['react']
  it.each(examples)('%s: eight tabs over one connection miss nothing while everything fails in turn', {
    timeout: 240_000,
  }, async (example) => {
    const { origin } = sites.get(example) as { origin: string }
    const author = uniqueName('alice')
    const world = await openKillableWorld(database.url, origin, author)
    const { service, connections } = world
    const pages: EnginePage[] = []
    onTestFinished(async () => {
      for (const page of pages) await page.close()
    })
    const text = (page: EnginePage, id: string) =>
      page.evaluate<string | undefined>(`document.getElementById(${JSON.stringify(id)})?.textContent`)
    for (let i = 0; i < TABS; i++) {
      const page = (await engine?.newPage()) as EnginePage
      pages.push(page)
      await page.goto(`${origin}/?service=${service}&user=${author}`)
      await expect.poll(() => text(page, 'state'), PATIENTLY).toBe('live')
    }
    const [first] = pages as [EnginePage]
    const lists = () =>
      Promise.all(
        pages.map((page) =>
          page.evaluate<string>(
            "[...document.querySelectorAll('#viewers li')].map((each) => each.textContent).join(' ')",
          ),
        ),
      )
    const allShow = async (count: number) => {
      const expected = upTo(count)
        .map((nth) => `viewer-${nth}`)
        .join(' ')
      await expect.poll(lists, PATIENTLY).toEqual(pages.map(() => expected))
    }
    expect(await connections()).toBe(1)
    await failInTurn(world, allShow)

    await first.evaluate("document.getElementById('unread').click()")
    const unread = () => Promise.all(pages.map((page) => text(page, 'unread')))
    await expect.poll(unread, PATIENTLY).toEqual(pages.map(() => '0 unread'))

    // The button of the page: a story, a view and the event that comes of it.
    await first.evaluate("document.getElementById('view').click()")
    await expect.poll(unread, PATIENTLY).toEqual(pages.map(() => '1 unread'))
    // The service that was killed is still listed for a while.
    await expect.poll(connections, PATIENTLY).toBe(1)
  })
})
