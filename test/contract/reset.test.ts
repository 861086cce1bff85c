import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Caller, newCallers } from '../support/api.ts'
import { open, RESETTING, STREAMING } from '../support/clients/index.ts'
import { type Instance, startInstance } from '../support/instance.ts'

let instance: Instance
let sql: postgres.Sql
beforeAll(async () => {
  instance = await startInstance()
  sql = postgres(instance.database.url, { max: 1 })
})
afterAll(async () => {
  await sql.end()
  await instance.close()
})

/** An author with six events and a visitor who makes more; `trim` forgets the events before `oldest`. */
async function history() {
  const [alice, bob] = (await newCallers(instance.url, 'alice', 'bob')) as [Caller, Caller]
  const stream = await open('sse', alice)
  const story = await alice.post()
  for (const emoji of ['❤️', '🔥', '👍', '😂', '😮', '🎉']) await bob.react(story, emoji)
  const events = await stream.take(6)
  stream.close()
  const opened = stream.messages[0]?.json
  const start = opened?.type === 'stream.open' ? opened.data.cursor : ''
  const cursors = [start, ...events.map(({ json }) => json.id)]
  const epoch = stream.cursor.split('.')[0] ?? ''
  return {
    more: () => bob.view(story),
    raws: events.map(({ raw }) => raw),
    epoch,
    /** The cursor after each event; of number 0 the one before any. */
    cursors,
    resume: (transport: (typeof RESETTING)[number], lastEventId: string) =>
      open(transport, { url: alice.url, token: alice.token, lastEventId }),
    trim: (oldest: number) =>
      sql.begin(async (tx) => {
        await tx`update glimpse.streams s set oldest = ${oldest},
          trimmed_at = (select logged_at from glimpse.events e where e.user_id = s.user_id and seq = ${oldest - 1})
          where user_id = ${alice.user}`
        await tx`delete from glimpse.events where user_id = ${alice.user} and seq < ${oldest}`
      }),
  }
}

const UNREADABLE = [
  'nonsense',
  '7',
  '-1',
  '00',
  '.',
  'x.',
  '.3',
  'ab cd.3',
  'a.b.3',
  'a.3.b.c',
  'a.3.',
  'a.3.B',
  'x.99999999999999999999',
  'ü.1',
]

describe.each(RESETTING)('a cursor that cannot be continued, over %s', (transport) => {
  const resets = [
    ['invalid', () => 'nonsense'],
    ['invalid', (epoch: string) => `${epoch}.03`],
    ['invalid', (epoch: string) => `${epoch}.-3`],
    ['epoch', () => '0123abc.3'],
    ['epoch', (epoch: string) => `${epoch}0.3`],
    ['ahead', (epoch: string) => `${epoch}.7`],
    ['ahead', (epoch: string) => `${epoch}.${Number.MAX_SAFE_INTEGER}`],
  ] as const

  it.each(resets)('is answered by %s (%o), and the stream goes on from now', async (reason, make) => {
    const { resume, more, epoch, cursors } = await history()
    const stream = await resume(transport, make(epoch))
    const reset = await stream.next('stream.reset')
    expect(reset.json.data).toEqual({ reason, cursor: cursors[6], oldest: 1 })
    await more()
    const [event] = await stream.take(1)
    expect(event?.json.seq).toBe(7)
    expect(stream.seqs).toEqual([7])
  })

  it.each(['trimmed', 'trimmed to the last event'])('older than the kept history: %s', async (which) => {
    const oldest = which === 'trimmed' ? 4 : 6
    const { resume, trim, more, raws, epoch } = await history()
    await trim(oldest)
    const stream = await resume(transport, `${epoch}.${oldest - 2}`)
    const reset = await stream.next('stream.reset')
    expect(reset.json.data).toEqual({ reason: 'trimmed', cursor: expect.any(String), oldest })
    await more()
    const events = await stream.take(6 - oldest + 2)
    expect(events.slice(0, -1).map(({ raw }) => raw)).toEqual(raws.slice(oldest - 1))
    expect(events.at(-1)?.json.seq).toBe(7)
  })

  it('just before the oldest event kept is continued without a reset', async () => {
    const { resume, trim, raws, cursors } = await history()
    await trim(4)
    const stream = await resume(transport, cursors[3] ?? '')
    expect((await stream.take(3)).map(({ raw }) => raw)).toEqual(raws.slice(3))
  })

  it('0 asks for what is kept, so a trimmed history is no reset', async () => {
    const { resume, trim, raws } = await history()
    await trim(5)
    const stream = await resume(transport, '0')
    expect((await stream.take(2)).map(({ raw }) => raw)).toEqual(raws.slice(4))
  })

  it('with nothing kept: the head is continued, anything older is trimmed', async () => {
    const { resume, trim, more, cursors } = await history()
    await trim(7)
    const atHead = await resume(transport, cursors[6] ?? '')
    const older = await resume(transport, cursors[5] ?? '')
    const reset = await older.next('stream.reset')
    expect(reset.json.data).toEqual({ reason: 'trimmed', cursor: cursors[6], oldest: 7 })
    await more()
    expect((await atHead.take(1))[0]?.json.seq).toBe(7)
    expect((await older.take(1))[0]?.json.seq).toBe(7)
  })
})

describe.each(STREAMING)('stream.reset over %s', (transport) => {
  it.each(UNREADABLE)('takes %o for no cursor', async (text) => {
    const [alice] = (await newCallers(instance.url, 'alice')) as [Caller]
    // In a header, as an EventSource sends it, only what HTTP carries there.
    const sendable = transport === 'ws' ? text : text.replace('ü', 'u?')
    const stream = await open(transport, { url: alice.url, token: alice.token, lastEventId: sendable })
    expect((await stream.next('stream.reset')).json.data.reason).toBe('invalid')
  })

  it('follows stream.open at once, and both name the same place', async () => {
    const { resume, trim, epoch, cursors } = await history()
    await trim(4)
    for (const [lastEventId, cursor, reason] of [
      ['nonsense', cursors[6], 'invalid'],
      ['0123abc.3', cursors[6], 'epoch'],
      [`${epoch}.9`, cursors[6], 'ahead'],
      [`${epoch}.1`, cursors[3], 'trimmed'],
    ] as const) {
      const stream = await resume(transport, lastEventId)
      await stream.next('stream.reset')
      expect(stream.messages.slice(0, 2).map(({ raw }) => raw)).toEqual([
        `{"type":"stream.open","data":{"cursor":"${cursor}","oldest":4,"resumed":false,"heartbeat_ms":15000,"read":"${cursors[0]}","unread":3}}`,
        `{"type":"stream.reset","data":{"reason":"${reason}","cursor":"${cursor}","oldest":4}}`,
      ])
    }
  })
})
