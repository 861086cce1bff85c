import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Caller, newCallers, type Problem } from '../support/api.ts'
import { eventTexts, poll } from '../support/clients/poll.ts'
import { type Instance, startInstance } from '../support/instance.ts'

let instance: Instance
beforeAll(async () => {
  instance = await startInstance()
})
afterAll(() => instance.close())

/** An author with `count` events. */
async function author(count: number): Promise<Caller> {
  const [alice, ...visitors] = (await newCallers(
    instance.url,
    'alice',
    ...Array.from({ length: count }, () => 'visitor'),
  )) as [Caller, ...Caller[]]
  const story = await alice.post()
  for (const visitor of visitors) await visitor.view(story)
  return alice
}

describe('polling', () => {
  it('answers with the events, the cursor after the last of them, has_more, reset and what is unread, as exactly this text', async () => {
    const alice = await author(2)
    const page = await poll({ url: alice.url, token: alice.token, lastEventId: '0' })
    const cursor = page.json.events[1]?.id
    expect(page.status).toBe(200)
    expect(page.headers.get('content-type')).toMatch(/^application\/json\b/)
    expect(eventTexts(page.text)).toHaveLength(2)
    expect(page.text).toBe(
      `{"events":[${eventTexts(page.text).join(',')}],"cursor":"${cursor}","has_more":false,"reset":null,` +
        `"read":"${page.json.read}","unread":2}`,
    )
  })

  it('is not kept by any cache: the next poll asks the service again', async () => {
    const page = await poll(await author(0))
    expect(page.headers.get('cache-control')).toMatch(/no-store|no-cache/)
  })

  it('starts from now without `after`', async () => {
    const alice = await author(2)
    const page = await poll(alice)
    expect(page.json).toMatchObject({ events: [], has_more: false, reset: null })
    expect(page.json.cursor).toMatch(/^[0-9a-z]+\.2\.[0-9a-z]+$/)
  })

  it('keeps the cursor where nothing is new', async () => {
    const alice = await author(2)
    const first = await poll({ url: alice.url, token: alice.token, lastEventId: '0' })
    const second = await poll({ url: alice.url, token: alice.token, lastEventId: first.json.cursor })
    const { cursor, read } = first.json
    expect(second.json).toEqual({ events: [], cursor, has_more: false, reset: null, read, unread: 2 })
  })

  it.each([
    [5, 2, [2, 2, 1]],
    [4, 2, [2, 2]],
    [3, 1, [1, 1, 1]],
    [3, 1000, [3]],
  ])('reads %i events in pages of %i: %o', async (count, limit, sizes) => {
    const alice = await author(count)
    const pages = []
    let lastEventId = '0'
    do {
      const { json } = await poll({ url: alice.url, token: alice.token, lastEventId, limit })
      expect(json.cursor).toBe(json.events.at(-1)?.id)
      lastEventId = json.cursor
      pages.push(json)
    } while (pages.at(-1)?.has_more === true && pages.length < 10)
    expect(pages.map(({ events }) => events.length)).toEqual(sizes)
    expect(pages.flatMap(({ events }) => events.map(({ seq }) => seq))).toEqual(
      Array.from({ length: count }, (_, i) => i + 1),
    )
  })

  it('reports a reset beside the events, without a cursor of its own', async () => {
    const alice = await author(2)
    const page = await poll({ url: alice.url, token: alice.token, lastEventId: 'nonsense' })
    expect(page.json).toEqual({
      events: [],
      cursor: expect.stringMatching(/^[0-9a-z]+\.2\.[0-9a-z]+$/),
      has_more: false,
      reset: { reason: 'invalid', oldest: 1 },
      read: expect.stringMatching(/^[0-9a-z]+\.0\.[0-9a-z]+$/),
      unread: 2,
    })
  })

  it.each(['0', '1001', '-1', '1.5', 'many', '', '1e2'])('rejects limit=%s and names it', async (limit) => {
    const alice = await author(0)
    const page = await poll({ url: alice.url, token: alice.token, limit })
    expect(page.status).toBe(400)
    const problem = page.json as unknown as Problem
    expect(page.headers.get('content-type')).toMatch(/^application\/problem\+json\b/)
    expect(problem).toMatchObject({ type: 'urn:glimpse:problem:invalid_field', status: 400 })
    expect(`${problem.detail} ${problem.field}`).toContain('limit')
  })
})
