import postgres from 'postgres'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type Instance, startInstance } from '../support/instance.ts'
import { insertStory, insertViews, upTo } from '../support/sql-writer.ts'

let instance: Instance
let sql: postgres.Sql
beforeAll(async () => {
  instance = await startInstance({ MAX_POLLS_PER_USER: '8' })
  sql = postgres(instance.database.url, { max: 1, onnotice: () => {} })
})
afterAll(async () => {
  await sql.end()
  await instance.close()
})
beforeEach(async () => {
  await sql`truncate glimpse.stories, glimpse.events, glimpse.streams cascade`
})

async function poll(user: string, after: string | undefined, limit: number): Promise<string> {
  const query = new URLSearchParams({ limit: String(limit), ...(after === undefined ? {} : { after }) })
  const response = await fetch(`${instance.url}/events?${query}`, {
    headers: { authorization: `Bearer ${await instance.token(user)}`, accept: 'application/json' },
  })
  expect(response.status).toBe(200)
  return response.text()
}

async function page(user: string, after: string | undefined, limit: number): Promise<string> {
  const [row] = await sql<
    { page: string }[]
  >`select glimpse.page(${user}, ${after ?? null}, ${limit})::text as page`
  return row?.page ?? ''
}

/** The same bytes by both ways. */
async function same(user: string, after: string | undefined, limit: number) {
  const expected = await poll(user, after, limit)
  expect(await page(user, after, limit), `${user} after ${after}, ${limit}`).toBe(expected)
  return JSON.parse(expected) as {
    events: { id: string; seq: number }[]
    cursor: string
    has_more: boolean
    reset: { reason: string } | null
  }
}

async function views(user: string, count: number): Promise<void> {
  const story = await insertStory(sql, user)
  for (const n of upTo(count)) await insertViews(sql, story, [`viewer ${n} ❤️ "\\`])
}

/** All cursors of a stream, read before it is damaged. */
async function cursorsOf(user: string): Promise<string[]> {
  const { events, cursor } = await same(user, '0', 1000)
  return [...events.map(({ id }) => id), cursor]
}

const DAMAGES: readonly (readonly [string, string, ...string[]])[] = [
  ['nothing', 'select 1'],
  ['a hole', 'delete from glimpse.events where seq in (4, 5)', 'gap'],
  ['holes at both ends', 'delete from glimpse.events where seq in (1, 12)', 'gap'],
  ['many holes', 'delete from glimpse.events where seq % 2 = 0', 'gap'],
  ['all but the stream gone', 'delete from glimpse.events', 'gap'],
  [
    'another body under a number',
    `update glimpse.events set body = replace(body, '"seq":6,', '"seq":7,') where seq = 6`,
    'gap',
  ],
  ['what is no body', `update glimpse.events set body = 'x' where seq in (1, 6)`, 'gap'],
  [
    'a body that reads as a message about the stream',
    `update glimpse.events set body = replace(body, '"story.viewed"', '"stream.close"') where seq = 6`,
    'gap',
  ],
  [
    'another time',
    `update glimpse.events set logged_at = logged_at + interval '1 second' where seq in (3, 12)`,
    'epoch',
  ],
  [
    'trimmed',
    `update glimpse.streams set oldest = 5, trimmed_at = (select logged_at from glimpse.events where seq = 4); delete from glimpse.events where seq < 5`,
    'trimmed',
  ],
  [
    'trimmed by 0.1',
    'update glimpse.streams set oldest = 5; delete from glimpse.events where seq < 5',
    'trimmed',
  ],
  ['a head of 0.1', 'update glimpse.streams set head_at = null'],
  ['a head set back', 'update glimpse.streams set head = 8', 'ahead'],
  ['a head set forth', 'update glimpse.streams set head = 20', 'gap'],
  ['a stream removed', 'delete from glimpse.streams', 'ahead'],
  ['impossible marks', 'update glimpse.streams set head = -1, oldest = 7, read = 9', 'ahead'],
  ['impossible edges', 'update glimpse.streams set oldest = 30, read = 30', 'trimmed'],
  [
    'read in part',
    'update glimpse.streams set read = 3, read_at_seq = 3, read_at = (select logged_at from glimpse.events where seq = 3)',
  ],
  [
    'read on by 0.1',
    'update glimpse.streams set read = 4, read_at_seq = 3, read_at = (select logged_at from glimpse.events where seq = 3)',
  ],
  ['read by 0.1', 'update glimpse.streams set read = 3'],
  ['another history', 'select glimpse.new_history()', 'epoch'],
]

describe('glimpse.page answers as the poll does', () => {
  it.each(DAMAGES)('with %s', { timeout: 60_000 }, async (_, damage, ...reasons) => {
    await views('alice', 12)
    const cursors = await cursorsOf('alice')
    await sql.unsafe(damage)
    const epoch = cursors[0]?.split('.')[0]
    const points = [
      undefined,
      '',
      '0',
      'nonsense',
      `${epoch}.5`,
      `${epoch}.99`,
      `${epoch}.9007199254740993`,
      `${epoch}.0`,
      `${epoch}.0.1`,
      `other.3.1`,
      ...cursors,
    ]
    const seen = new Set<string>()
    for (const point of points)
      for (const limit of [1, 5, 1000]) {
        const { reset } = await same('alice', point, limit)
        if (reset !== null) seen.add(reset.reason)
      }
    expect([...seen]).toEqual(expect.arrayContaining(['invalid', ...reasons]))
    for (const point of cursors.slice(0, 3)) await same('bob', point, 5)
  })

  it('page by page, to the end', async () => {
    await views('alice', 12)
    const seqs: number[] = []
    for (let after = '0'; ; ) {
      const { events, cursor, has_more } = await same('alice', after, 5)
      seqs.push(...events.map(({ seq }) => seq))
      after = cursor
      if (!has_more) break
    }
    expect(seqs).toEqual(upTo(12))
  })

  it('with at most 1 MiB of events', async () => {
    await sql`
      select glimpse.append(variadic array_agg(('alice', 'note.big', to_json(repeat('x', 60000)), now())::glimpse.new_event))
        from generate_series(1, 20)`
    const { events, has_more } = await same('alice', '0', 100)
    expect(events).toHaveLength(17)
    expect(has_more).toBe(true)
  })
})

it.each([
  ['', 1, /user must have/],
  ['a\tb', 1, /user must have/],
  ['alice', 0, /max must be from 1 to 1000/],
  ['alice', 1001, /max must be from 1 to 1000/],
])('refuses the user %j with max %i', async (user, max, message) => {
  await expect(page(user, '0', max)).rejects.toMatchObject({
    code: '22023',
    message: expect.stringMatching(message),
  })
})
