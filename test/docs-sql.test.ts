import { readFile } from 'node:fs/promises'
import postgres from 'postgres'
import { WebSocket } from 'undici'
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { type Instance, startInstance } from './support/instance.ts'

/** The blocks of SQL in a page of docs/, in order; `sql no-run` is for eyes only. */
async function sqlOf(page: string): Promise<string[]> {
  const text = await readFile(`docs/${page}`, 'utf8')
  return [...text.matchAll(/^```sql\n([\s\S]*?)^```$/gm)].map(([, block]) => block ?? '')
}

let instance: Instance
let sql: postgres.Sql
beforeEach(async () => {
  instance = await startInstance()
  sql = postgres(instance.database.url, { max: 1, onnotice: () => {} })
  onTestFinished(async () => {
    await sql.end()
    await instance.close()
  })
})

describe('what docs/extending.md says of bad events', () => {
  it.each([
    ['Comment', 'x', '{}', 'now()'],
    ['stream.own', 'x', '{}', 'now()'],
    ['comment.added', '', '{}', 'now()'],
    ['comment.added', 'x', null, 'now()'],
    ['comment.added', 'x', '{}', 'infinity'],
  ])('names what is wrong with the type %j for %j, data %j and %j', async (type, user, data, at) => {
    const appended = sql`select glimpse.append((${user}, ${type}, ${data}::text::json, ${at}::text::timestamptz)::glimpse.new_event)`
    await expect(appended).rejects.toMatchObject({ code: expect.stringMatching(/^(22023|23514)$/) })
  })
})

describe('docs/from-the-go-service.md', () => {
  it('carries the data over without an event, twice if need be, and makes events afterwards', async () => {
    const [tables, copying, ...more] = await sqlOf('from-the-go-service.md')
    expect(more).toEqual([])
    await sql.unsafe(tables ?? '')
    const id = '550e8400-e29b-41d4-a716-446655440000'
    await sql`insert into old.stories values (${id}, 7, 'Fog', now(), now() + interval '1 day')`
    await sql`insert into old.story_views values (${id}, 8, '2025-10-02Z'), (${id}, 8, '2025-10-01Z'), (gen_random_uuid(), 8, now())`
    await sql`insert into old.reactions values (${id}, 8, '👏', '2025-10-01Z'), (${id}, 8, '❤️', '2025-10-02Z')`
    await sql.unsafe(copying ?? '')
    await sql.unsafe(copying ?? '')
    expect(await sql`select author_id, text from glimpse.stories`).toEqual([{ author_id: '7', text: 'Fog' }])
    const [view] = await sql`select viewer_id, viewed_at from glimpse.story_views`
    expect(view).toEqual({ viewer_id: '8', viewed_at: new Date('2025-10-01') })
    expect(await sql`select user_id, emoji from glimpse.story_reactions`).toEqual([
      { user_id: '8', emoji: '❤️' },
    ])
    expect(await sql`select from glimpse.events`).toHaveLength(0)
    await sql`insert into glimpse.story_views (story_id, viewer_id) values (${id}, '9')`
    expect(await sql`select from glimpse.events`).toHaveLength(1)
  })

  it('keeps a client going that knows nothing but types and data', async () => {
    const single = await startInstance({ MAX_CONNECTIONS_PER_USER: '1' })
    onTestFinished(() => single.close())
    const [alice, bob] = [await single.caller('alice'), await single.caller('bob')]
    const shown: unknown[] = []
    const connect = async () => {
      const socket = new WebSocket(`${single.url.replace('http', 'ws')}/ws?token=${alice.token}`)
      onTestFinished(() => socket.close())
      const closed = new Promise<number>((resolve) => {
        socket.onclose = ({ code }) => resolve(code)
      })
      socket.onmessage = ({ data }) => {
        const { type, data: event } = JSON.parse(data)
        if (type === 'story.viewed') shown.push([event.story_id, event.viewer_id])
        if (type === 'story.reacted') shown.push([event.story_id, event.user_id, event.emoji])
      }
      await new Promise((resolve) => {
        socket.onopen = resolve
      })
      return { closed }
    }
    const first = await connect()
    await connect()
    expect(await first.closed).toBe(4500)
    const story = await alice.post()
    await bob.view(story)
    await bob.react(story, '👏')
    await expect
      .poll(() => shown)
      .toEqual([
        [story, bob.user],
        [story, bob.user, '👏'],
      ])
  })
})
