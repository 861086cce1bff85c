import { readFile } from 'node:fs/promises'
import postgres from 'postgres'
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { open } from './support/clients/index.ts'
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

const listen = async (user: string) => open('sse', { url: instance.url, token: await instance.token(user) })

describe('docs/extending.md', () => {
  it('makes an event of a comment, and of a story for each follower, and takes itself back', async () => {
    const [comments, comment, follows, cleaning, ...more] = await sqlOf('extending.md')
    expect(more).toEqual([])
    const [story] = await sql<{ id: string }[]>`
      insert into glimpse.stories (author_id) values ('alice') returning id`
    const alice = await listen('alice')
    await sql.unsafe(comments ?? '')
    await sql.unsafe(comment ?? '')
    const [event] = await alice.take(1)
    expect(event?.json).toMatchObject({
      seq: 1,
      type: 'comment.added',
      data: { story_id: story?.id, user_id: 'bob', text: 'Where was this taken?' },
    })
    expect(event?.sse?.event).toBe('comment.added')

    const followers = await Promise.all(['carol', 'dave'].map(listen))
    await sql.unsafe(follows ?? '')
    for (const follower of followers) {
      const [published] = await follower.take(1)
      expect(published?.json).toMatchObject({ type: 'story.published', data: { author_id: 'alice' } })
    }
    await sql.unsafe(cleaning ?? '')
    await sql`insert into glimpse.stories (author_id) values ('alice')`
    expect(await sql`select from glimpse.events where user_id = 'carol'`).toHaveLength(1)
  })

  it('shows the event as it comes', async () => {
    const [, shown = ''] = /```json\n([\s\S]*?)```/.exec(await readFile('docs/extending.md', 'utf8')) ?? []
    const [comments, comment] = await sqlOf('extending.md')
    await sql`insert into glimpse.stories (author_id) values ('alice')`
    const alice = await listen('alice')
    await sql.unsafe(`${comments}; ${comment}`)
    const [event] = await alice.take(1)
    const shape = (value: object) =>
      JSON.stringify(value, (_, inner) => (Object(inner) === inner ? inner : 0))
    expect(shape(event?.json ?? {})).toBe(shape(JSON.parse(shown)))
  })

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

describe('docs/beside-an-existing-database.md', () => {
  it('tells of views in tables that are not ours, and mirrors stories', async () => {
    const [tables, trigger, view, mirror, ...more] = await sqlOf('beside-an-existing-database.md')
    expect(more).toEqual([])
    await sql.unsafe(tables ?? '')
    await sql.unsafe(trigger ?? '')
    const seller = await listen('7')
    await sql.unsafe(view ?? '')
    const [story] = await sql<{ id: string }[]>`select id from shop.stories`
    const [event] = await seller.take(1)
    expect(event?.json).toMatchObject({
      type: 'story.viewed',
      data: { story_id: story?.id, viewer_id: '8', viewed_at: event?.json.timestamp },
    })
    expect(await sql`select from glimpse.stories`).toHaveLength(0)

    await sql.unsafe(mirror ?? '')
    const [late] = await sql<
      { id: string }[]
    >`insert into shop.stories (author, title) values (7, 'Late') returning id`
    await sql`update shop.stories set title = 'Later' where id = ${late?.id ?? ''}`
    expect(await sql`select author_id, text from glimpse.stories order by text`).toEqual([
      { author_id: '7', text: 'Later' },
      { author_id: '7', text: 'Spring sale' },
    ])
    await sql`delete from shop.stories where id = ${late?.id ?? ''}`
    expect(await sql`select from glimpse.stories`).toHaveLength(1)
  })
})
