import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Cursors } from '../../src/cursor.ts'
import { parseResumePoint } from '../../src/event.ts'
import type { App } from '../../src/http/context.ts'
import { readPage } from '../../src/http/read-page.ts'
import { partsOf } from '../support/cursor.ts'
import { damage, damages, lives, streamOf } from '../support/damage.ts'
import type { FakeStream } from '../support/fake-log.ts'

const cursors = new Cursors('alice')

/** What readPage asks of the application, over one stream in memory. */
function appOf(stream: FakeStream, asked: { reads: number } = { reads: 0 }): App {
  return {
    eventLog: {
      head: async () => ({ ...stream.state('e1'), askedTime: undefined }),
      page: async (_user: string, after: number, limit = 200) => {
        asked.reads++
        return stream.page('e1', after, limit)
      },
    },
    waiting: { pass: (work: () => unknown) => work() },
    polls: { pass: (_user: string, work: () => unknown) => work() },
    metrics: { resets: { inc: () => {} } },
  } as unknown as App
}

/** A client that polls until it is told that there is no more. */
async function poll(stream: FakeStream, from: string, limit: number) {
  const words: (number | string)[] = []
  let cursor = from
  for (let polls = 0; polls <= 3 * (stream.rows.length + 10); polls++) {
    const asked = { reads: 0 }
    const page = await readPage(appOf(stream, asked), 'alice', parseResumePoint(cursor), limit)
    expect(asked.reads).toBeLessThanOrEqual(9)
    expect(page.texts.length).toBeLessThanOrEqual(limit)
    if (page.reset !== undefined) words.push(page.reset)
    const before = words.at(-1)
    for (const [i, text] of page.texts.entries()) {
      const { id, seq } = JSON.parse(text)
      const row = stream.rows.find(
        (row) => row.seq === seq && row.body === `{${text.slice(text.indexOf(',') + 1)}`,
      )
      if (row === undefined) throw new Error(`not in the log: ${text}`)
      expect(JSON.parse(row.body).seq).toBe(seq)
      expect(id).toBe(cursors.format('e1', row))
      if (i > 0 || typeof before === 'number') expect(seq).toBe((words.at(-1) as number) + 1)
      words.push(seq)
    }
    if (!page.hasMore) return { words, page }
    // A client that is told of more is brought forward, or it would ask for the same for ever.
    expect(page.cursor).not.toBe(cursor)
    cursor = page.cursor
  }
  throw new Error(`no end: ${words.slice(-20)}`)
}

const limit = fc.integer({ min: 1, max: 20 })
const cursor = fc.oneof(
  fc.constantFrom('', '0', 'nonsense', 'e2.1.0', 'e1.1', 'e1.3', 'e1.9'),
  fc
    .record({
      seq: fc.integer({ min: 0, max: 18 }),
      time: fc.option(fc.constantFrom(0, 1000, 1010, 1020, 1030), { nil: undefined }),
    })
    .map((place) => cursors.format('e1', place)),
)

const RUNS = 2000

describe('pages of a stream', () => {
  it('whatever was done to the log: bring exactly the next event, or a reset, and end', async () => {
    await fc.assert(
      fc.asyncProperty(lives, damages, cursor, limit, async (life, done, from, limit) => {
        const stream = streamOf(life)
        damage(stream, done)
        const { page } = await poll(stream, from, limit)
        expect(page.hasMore).toBe(false)
        expect(parseResumePoint(page.cursor).from).toBe('cursor')
        // Whoever keeps asking may be told once that the head was set by hand, and then stays where the stream ends.
        const told = await poll(stream, page.cursor, limit)
        const again = await poll(stream, told.page.cursor, limit)
        expect(again.words).toEqual([])
        expect(partsOf(again.page.cursor).seq).toBe(page.stream.head)
      }),
      { numRuns: RUNS },
    )
  })

  it('where nothing was done to it: bring every event that is kept, and no reset', async () => {
    await fc.assert(
      fc.asyncProperty(lives, limit, async (life, limit) => {
        const stream = streamOf(life)
        const { words } = await poll(stream, '0', limit)
        expect(words).toEqual(stream.rows.map(({ seq }) => seq))
      }),
      { numRuns: RUNS },
    )
  })

  it('behind more holes than one request passes: the next ones go on', async () => {
    const stream = streamOf({ statements: [60], trimmed: 0 })
    for (let seq = 2; seq <= 60; seq += 2) damage(stream, [{ what: 'remove', from: seq, count: 1 }])
    const { words } = await poll(stream, '0', 200)
    expect(words.filter((word) => typeof word === 'number')).toEqual(stream.rows.map(({ seq }) => seq))
    expect(words.filter((word) => word === 'gap').length).toBeGreaterThan(3)
  })
})
