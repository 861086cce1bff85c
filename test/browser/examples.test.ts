import { cp, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import postgres from 'postgres'
import { build } from 'vite'
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { call, uniqueName } from '../support/api.ts'
import { folderWithClient, ROOT, type UserFolder } from '../support/client-package.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import type { Engine, EnginePage } from '../support/engine.ts'
import { ENGINES } from '../support/engines.ts'
import { spawnInstance } from '../support/instance.ts'
import { insertStory, insertViews, upTo } from '../support/sql-writer.ts'
import { serveFolder } from '../support/static-site.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'
import { signToken } from '../support/token.ts'

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

/** A service that can be killed, with a network before it and one behind it that can be cut. */
async function openWorld(origin: string) {
  const toDatabase = await TcpProxy.before(database.url)
  const environment = { DATABASE_URL: toDatabase.urlFor(database.url), MIGRATE: 'off', CORS_ORIGINS: origin }
  let main = await spawnInstance(environment)
  const { port } = new URL(main.url)
  const toService = await TcpProxy.before(main.url)
  const sql = postgres(database.url, { max: 1 })
  const author = uniqueName('alice')
  const story = await insertStory(sql, author)
  let made = 0
  onTestFinished(async () => {
    main.child.kill('SIGKILL')
    await Promise.all([toDatabase.close(), toService.close(), sql.end()])
  })
  return {
    author,
    service: new URL(toService.urlFor(main.url)).origin,
    toDatabase,
    toService,
    view: () => insertViews(sql, story, [`viewer-${++made}`]),
    connections: async () => {
      const token = await signToken(author)
      const { json } = await call<{ connections: unknown[] }>(main.url, '/me/connections', { token })
      return json.connections.length
    },
    restart: async (whileAway: () => Promise<void>) => {
      await main.kill('SIGKILL')
      await whileAway()
      main = await spawnInstance({ ...environment, PORT: port })
    },
  }
}

describe.each(ENGINES)('the example applications in %s', (name, launch) => {
  let engine: Engine | undefined
  beforeAll(async () => {
    engine = await launch()
  })
  afterAll(() => engine?.close())
  beforeEach(({ skip }) => skip(engine === undefined, `${name} is not installed here`))

  // One engine is enough for the page whose client is the same.
  const examples = name === 'Chromium' ? ['react', 'plain'] : ['react']
  it.each(
    examples,
  )('%s: eight tabs over one connection miss nothing while everything fails in turn', async (example) => {
    const { origin } = sites.get(example) as { origin: string }
    const { author, service, toDatabase, toService, view, connections, restart } = await openWorld(origin)
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
    await view()
    await allShow(1)

    await restart(view)
    await view()
    await allShow(3)

    toDatabase.resetAll()
    toDatabase.blackhole()
    await view()
    toDatabase.heal()
    await view()
    await allShow(5)

    toService.resetAll()
    await view()
    await allShow(6)

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
