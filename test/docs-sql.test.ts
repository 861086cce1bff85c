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
