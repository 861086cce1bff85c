import { setTimeout as pause } from 'node:timers/promises'
import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { open, STREAMING } from '../support/clients/index.ts'
import type { Received } from '../support/clients/stream.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { type Instance, startInstance } from '../support/instance.ts'
import { insertStory, readLog, upTo } from '../support/sql-writer.ts'

const WRITERS = 50
const TRANSACTIONS_EACH = 20
const AUTHORS = ['ann', 'ben', 'cem', 'dia', 'eve']

let database: TestDatabase
let instances: Instance[]
let sql: postgres.Sql
beforeAll(async () => {
  database = await createDatabase()
  instances = await Promise.all([startInstance({}, { database }), startInstance({}, { database })])
  sql = postgres(database.url, { max: WRITERS })
})
afterAll(async () => {
  await sql.end()
  await Promise.all(instances.map((instance) => instance.close()))
  await database.drop()
})

/** The same sequence of "random" choices on every run. */
function dice(seed: number): (sides: number) => number {
  let state = seed
  return (sides) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * sides)
  }
}

/** Transactions that number their events early and commit late, in an order of their own; some never do. */
async function write(writer: number, stories: string[]): Promise<void> {
  const roll = dice(writer)
  for (let n = 0; n < TRANSACTIONS_EACH; n += 1) {
    const story = stories[roll(stories.length)] ?? ''
    const rollsBack = roll(10) === 0
    const viewer = (k: number) => `w${writer} t${n} v${k}`
    await sql
      .begin(async (tx) => {
        await tx`insert into glimpse.story_views (story_id, viewer_id) values (${story}, ${viewer(1)})`
        await tx`select pg_sleep(${roll(15) / 1000})`
        await tx`insert into glimpse.story_views (story_id, viewer_id) values (${story}, ${viewer(2)}), (${story}, ${viewer(3)})`
        if (rollsBack) throw new Error('rolled back')
      })
      .catch((error: Error) => {
        if (error.message !== 'rolled back') throw error
      })
    await pause(roll(5))
  }
}

describe('50 writers that pause before they commit', () => {
  it('and readers that break off at random: nothing missing, nothing twice, nothing out of order', async () => {
    const stories = await Promise.all(AUTHORS.map((author) => insertStory(sql, author)))
    let writing = true

    /** Reads on over ever new connections, to any instance, over any transport, until the whole log was seen. */
    async function read(author: string, reader: number): Promise<{ received: Received[]; breaks: number }> {
      const roll = dice(1_000 + reader)
      const token = await instances[0]?.token(author)
      const received: Received[] = []
      let lastEventId = '0'
      for (let breaks = 0; ; breaks += 1) {
        const stream = await open(STREAMING[roll(2)] ?? 'sse', {
          url: instances[roll(2)]?.url ?? '',
          ...(token === undefined ? {} : { token }),
          lastEventId,
        })
        const complete = async () => {
          if (writing) return false
          const [row] = await sql`select head from glimpse.streams where user_id = ${author}`
          return received.length + stream.events.length >= Number(row?.head)
        }
        const enough = 1 + roll(40)
        while (stream.events.length < enough && !(await complete())) await pause(5)
        stream.cut()
        const surprise = stream.messages.slice(1).find(({ json }) => !('seq' in json))
        if (surprise !== undefined) throw new Error(`${author}: ${surprise.raw}`)
        received.push(...stream.events)
        lastEventId = stream.cursor
        if (await complete()) return { received, breaks }
      }
    }

    const readers = AUTHORS.flatMap((author, i) => [
      { author, done: read(author, 2 * i) },
      { author, done: read(author, 2 * i + 1) },
    ])
    await Promise.all(upTo(WRITERS).map((writer) => write(writer, stories))).finally(() => {
      writing = false
    })

    let breaks = 0
    for (const { author, done } of readers) {
      const outcome = await done
      breaks += outcome.breaks
      const log = await readLog(sql, author)
      expect(log.length).toBeGreaterThan(100)
      expect(log.map(({ seq }) => seq)).toEqual(upTo(log.length))
      const ids = outcome.received.map(({ raw }) => (JSON.parse(raw) as { id: string }).id)
      expect(new Set(ids.map((id) => id.split('.')[0])).size).toBe(1)
      expect(ids.map((id) => Number(id.split('.')[1]))).toEqual(upTo(log.length))
      expect(outcome.received.map(({ raw }) => raw)).toEqual(
        log.map(({ body }, i) => `{"id":"${ids[i]}",${body.slice(1)}`),
      )
    }
    expect(breaks).toBeGreaterThan(readers.length)
  })
})
