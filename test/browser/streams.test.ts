import type { Browser, Page } from 'playwright-core'
import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Caller, uniqueName } from '../support/api.ts'
import { launchBrowser } from '../support/browser.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { type MainProcess, spawnInstance } from '../support/instance.ts'
import { insertReaction, insertViews, upTo } from '../support/sql-writer.ts'
import { signToken } from '../support/token.ts'

/** What the browser's own EventSource and WebSocket make of the streams, with nothing of ours on the page. */

interface Heard {
  readonly type: string
  readonly id?: string
  readonly seq?: number
  readonly lastEventId?: string
  readonly data: { readonly [key: string]: unknown }
}

declare global {
  var heard: Heard[]
  var source: EventSource
}

let browser: Browser
let database: TestDatabase
let main: MainProcess & { url: string }

beforeAll(async () => {
  ;[browser, database] = await Promise.all([launchBrowser(), createDatabase()])
  main = await spawnInstance({ DATABASE_URL: database.url })
})

afterAll(async () => {
  await browser?.close()
  await main?.kill('SIGKILL')
  await database?.drop()
})

async function newCaller(name: string): Promise<Caller> {
  const user = uniqueName(name)
  return new Caller(main.url, user, await signToken(user))
}

/** A page of the service's own origin without the console on it. */
async function blankPage(): Promise<Page> {
  const page = await browser.newPage()
  await page.goto(`${main.url}/livez`)
  return page
}

async function openEventSource(page: Page, token: string): Promise<void> {
  await page.evaluate((credential) => {
    globalThis.heard = []
    globalThis.source = new EventSource(`/events?token=${credential}`)
    for (const type of ['stream.open', 'stream.reset', 'story.viewed', 'story.reacted'])
      globalThis.source.addEventListener(type, ({ data, lastEventId }) => {
        globalThis.heard.push({ ...JSON.parse(data), lastEventId })
      })
  }, token)
  await until(page, 'stream.open')
}

function messagesOf(page: Page): Promise<Heard[]> {
  return page.evaluate(() => globalThis.heard)
}

/** Waits until the page heard that many messages of the type. */
async function until(page: Page, type: string, count = 1): Promise<void> {
  await page.waitForFunction(
    ([wanted, least]) => globalThis.heard.filter((message) => message.type === wanted).length >= least,
    [type, count] as const,
  )
}

describe('a bare EventSource', () => {
  it('dispatches events by their names, with the cursor as its last event id', async () => {
    const author = await newCaller('alice')
    const viewer = await newCaller('bob')
    const page = await blankPage()
    await openEventSource(page, author.token)
    const story = await author.post()
    await viewer.view(story)
    await viewer.react(story, '❤️')
    await until(page, 'story.reacted')

    const [open, viewed, reacted] = await messagesOf(page)
    expect(open).toMatchObject({ type: 'stream.open', data: { resumed: false } })
    expect(open?.lastEventId).toBe(open?.data.cursor)
    expect(viewed).toMatchObject({ type: 'story.viewed', seq: 1, data: { viewer_id: viewer.user } })
    expect(reacted).toMatchObject({ type: 'story.reacted', seq: 2, data: { emoji: '❤️' } })
    expect(viewed?.lastEventId).toBe(viewed?.id)
    expect(reacted?.lastEventId).toBe(reacted?.id)
    await page.close()
  })

  it('resumes by itself when the process is killed and comes back, before and after its first event', async () => {
    const author = await newCaller('alice')
    const idle = await newCaller('idle')
    const viewer = await newCaller('bob')
    const [page, idlePage] = await Promise.all([blankPage(), blankPage()])
    await openEventSource(page, author.token)
    // This one has no event yet to resume from: only the id that stream.open carried.
    await openEventSource(idlePage, idle.token)
    const story = await author.post()
    const idleStory = await idle.post()
    await viewer.view(story)
    await until(page, 'story.viewed')

    await main.kill('SIGKILL')
    // Nobody runs who could push these: only the log can bring them to the pages.
    const sql = postgres(database.url, { max: 1 })
    await insertReaction(sql, story, viewer.user, '🔥')
    await insertViews(sql, idleStory, [viewer.user])
    await sql.end()
    main = await spawnInstance({ DATABASE_URL: database.url, PORT: new URL(main.url).port })

    await until(page, 'story.reacted')
    await until(idlePage, 'story.viewed')
    const opens = (await messagesOf(page)).filter(({ type }) => type === 'stream.open')
    expect(opens.map(({ data }) => data.resumed)).toEqual([false, true])
    expect((await messagesOf(page)).flatMap(({ seq }) => seq ?? [])).toEqual(upTo(2))
    expect((await messagesOf(idlePage)).flatMap(({ seq }) => seq ?? [])).toEqual(upTo(1))
    expect(await page.evaluate(() => globalThis.source.readyState)).toBe(1)
    await Promise.all([page.close(), idlePage.close()])
  })

  it('ends for good where the token is refused', async () => {
    const page = await blankPage()
    const state = await page.evaluate(
      () =>
        new Promise<number>((resolve) => {
          const source = new EventSource('/events?token=none')
          source.addEventListener('error', () => resolve(source.readyState))
        }),
    )
    expect(state).toBe(2)
    await page.close()
  })
})

describe('a bare WebSocket', () => {
  it('hears what the EventSource hears, and resumes after the cursor in its address', async () => {
    const author = await newCaller('alice')
    const viewer = await newCaller('bob')
    const page = await blankPage()
    const story = await author.post()
    await viewer.view(story)
    await viewer.react(story, '👏')
    const listen = (after: string, count: number) =>
      page.evaluate(
        ([token, cursor, least]) =>
          new Promise<Heard[]>((resolve, reject) => {
            const messages: Heard[] = []
            const address = `${location.origin.replace('http', 'ws')}/ws?token=${token}&last_event_id=${cursor}`
            const socket = new WebSocket(address)
            socket.addEventListener('error', () => reject(new Error('the WebSocket failed')))
            socket.addEventListener('message', ({ data }) => {
              messages.push(JSON.parse(data))
              if (messages.length < least) return
              socket.close()
              resolve(messages)
            })
          }),
        [author.token, after, count] as const,
      )

    const [, viewed, reacted] = await listen('0', 3)
    expect([viewed?.seq, reacted?.seq]).toEqual([1, 2])
    const [open, again] = await listen(viewed?.id ?? '', 2)
    expect(open).toMatchObject({ type: 'stream.open', data: { resumed: true, cursor: viewed?.id } })
    expect(again).toEqual(reacted)

    await openEventSource(page, author.token)
    const third = listen(reacted?.id ?? '', 2)
    await viewer.react(story, '😮')
    await until(page, 'story.reacted')
    const [, live] = await third
    const { lastEventId, ...bySse } = (await messagesOf(page)).at(-1) as Heard
    expect(live).toEqual(bySse)
    expect(lastEventId).toBe(live?.id)
    await page.close()
  })
})
