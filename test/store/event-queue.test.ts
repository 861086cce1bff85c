import postgres from 'postgres'
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { createLogger } from '../../src/observability/log.ts'
import { createMetrics } from '../../src/observability/metrics.ts'
import { createPool } from '../../src/postgres/pool.ts'
import { EventQueue } from '../../src/store/event-queue.ts'
import { channelOf } from '../support/channel.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { readLog, upTo } from '../support/sql-writer.ts'

let database: TestDatabase
let sql: postgres.Sql
beforeAll(async () => {
  database = await createDatabase()
  sql = postgres(database.url, { max: 6, onnotice: () => {} })
})
afterAll(async () => {
  await sql.end({ timeout: 1 })
  await database.drop()
})
beforeEach(async () => {
  await sql`truncate glimpse.events, glimpse.streams, glimpse.queue`
  await sql`update glimpse.queue_state set idle = true, moved_at = '-infinity'`
})

type Sql = postgres.Sql | postgres.TransactionSql | postgres.ReservedSql

async function enqueue(by: Sql, user: string, ...numbers: number[]): Promise<void> {
  await by`
    select glimpse.enqueue(variadic array(
      select (${user}, 'a.b', json_build_object('n', n), now())::glimpse.new_event from unnest(${numbers}::int[]) n))`
}

async function move(passed: string[] = [], portion = 100) {
  const [row] = await sql`select * from glimpse.move_queue(${passed}, ${portion})`
  return row
}

const numbersOf = async (user: string) =>
  (await readLog(sql, user)).map(({ body }) => JSON.parse(body).data.n)

/** A transaction that stays open until the test lets it go. */
async function begun(work: (by: Sql) => Promise<unknown>, isolation = 'read committed') {
  const session = await sql.reserve()
  await session.unsafe(`begin isolation level ${isolation}`)
  await work(session)
  return async (how: 'commit' | 'rollback') => {
    await session.unsafe(how).finally(() => session.release())
  }
}

describe('glimpse.enqueue', () => {
  it('takes what append takes, and names itself where it refuses', async () => {
    const call = (user: string, type: string, data: string | null) =>
      sql`select glimpse.enqueue((${user}, ${type}, ${data}::text::json, now())::glimpse.new_event)`
    await expect(call('alice', 'Comment', '{}')).rejects.toThrow(
      /^glimpse\.enqueue: type 'Comment' for user 'alice'/,
    )
    await expect(call('alice', 'a.b', null)).rejects.toMatchObject({ code: '22023' })
    await expect(call('', 'a.b', '{}')).rejects.toMatchObject({ code: '23514' })
    await expect(call('alice', 'a.b', `"${'x'.repeat(65_500)}"`)).rejects.toThrow(
      /^glimpse\.enqueue: an event for user 'alice' has/,
    )
    await sql`select glimpse.enqueue(variadic '{}')`
    expect(await sql`select from glimpse.queue`).toHaveLength(0)
  })

  it('logs what append would, after the commit and not after a rollback', async () => {
    const data = '{"b": 1.50,\n"a":"\\u00f8"}'
    const event = (by: string) =>
      sql.unsafe(
        `select glimpse.${by}(('alice', 'a.b', '${data}'::json, '2025-10-01T15:13:26Z')::glimpse.new_event)`,
      )
    await event('enqueue')
    await (await begun((by) => enqueue(by, 'alice', 1)))('rollback')
    expect(await move()).toEqual({ moved: 1, held: [], fault: null, idle: false })
    await event('append')
    const [queued, appended] = await readLog(sql, 'alice')
    expect(queued?.body).toBe(appended?.body.replace('{"seq":2', '{"seq":1'))
  })

  it('waits for nobody, and fails nobody, whatever the order and the isolation', async () => {
    await enqueue(sql, 'alice', 0)
    await enqueue(sql, 'bob', 0)
    await move()
    for (const isolation of ['read committed', 'repeatable read', 'serializable']) {
      // Each would wait for the other's streams, or fail by 40001 or 40P01, by append.
      const one = await begun((by) => enqueue(by, 'alice', 1), isolation)
      const two = await begun((by) => enqueue(by, 'bob', 2).then(() => enqueue(by, 'alice', 2)), isolation)
      const appending = await begun(
        (by) => by`select glimpse.append(('alice', 'a.b', '{"n":3}', now())::glimpse.new_event)`,
      )
      await one('commit')
      await two('commit')
      await appending('commit')
    }
    while ((await move())?.moved) {}
    expect((await numbersOf('alice')).sort()).toEqual([0, 1, 1, 1, 2, 2, 2, 3, 3, 3])
    expect(await numbersOf('bob')).toEqual([0, 2, 2, 2])
  })

  it('wakes the service once the queue is idle, and not while it looks by itself', async () => {
    const heard: string[] = []
    const { unlisten } = await sql.listen(await channelOf(sql), (payload) => void heard.push(payload))
    onTestFinished(unlisten)
    await enqueue(sql, 'alice', 1)
    await move()
    await enqueue(sql, 'alice', 2)
    await move()
    await sql`update glimpse.queue_state set moved_at = now() - interval '2 seconds'`
    expect(await move()).toMatchObject({ moved: 0, idle: true })
    await enqueue(sql, 'alice', 3)
    await expect.poll(() => heard.filter((payload) => payload === '\tqueue')).toHaveLength(2)
  })
})

describe('glimpse.move_queue', () => {
  it('keeps the order of each user, in portions', async () => {
    for (const n of upTo(10)) await enqueue(sql, n % 2 === 0 ? 'bob' : 'alice', n, n + 100)
    expect(await move([], 7)).toMatchObject({ moved: 7 })
    expect(await numbersOf('alice')).toEqual([1, 101, 3, 103])
    expect(await numbersOf('bob')).toEqual([2, 102, 4])
    expect(await move([], 100)).toMatchObject({ moved: 13 })
    expect(await numbersOf('bob')).toEqual([2, 102, 4, 104, 6, 106, 8, 108, 10, 110])
    expect(await move()).toMatchObject({ moved: 0, held: [] })
  })

  it.each([
    true,
    false,
  ])('passes over a stream that somebody holds or makes, where it is there before: %s', async (there) => {
    if (there) await sql`select glimpse.append(('alice', 'a.b', '{"n":0}', now())::glimpse.new_event)`
    const end = await begun(
      (by) => by`select glimpse.append(('alice', 'a.b', '{"n":1}', now())::glimpse.new_event)`,
    )
    await enqueue(sql, 'alice', 2, 3)
    await enqueue(sql, 'bob', 4)
    expect(await move()).toEqual({ moved: 1, held: ['alice'], fault: null, idle: false })
    expect(await move(['alice'])).toMatchObject({ moved: 0, held: [] })
    await enqueue(sql, 'bob', 5)
    expect(await move(['alice'])).toMatchObject({ moved: 1 })
    await end('commit')
    await move()
    expect(await numbersOf('alice')).toEqual([...(there ? [0] : []), 1, 2, 3])
    expect(await numbersOf('bob')).toEqual([4, 5])
    expect(await sql`show lock_timeout`).toEqual([{ lock_timeout: '0' }])
  })

  it('lets one user whose events the log refuses hold up nobody', async () => {
    await sql`insert into glimpse.streams (user_id, head) values ('mallory', 999999999999999)`
    await enqueue(sql, 'mallory', 1, 2)
    await enqueue(sql, 'bob', 3)
    expect(await move()).toEqual({ moved: 1, held: ['mallory'], fault: '23514', idle: false })
    expect(await sql`select from glimpse.queue where user_id = 'mallory'`).toHaveLength(2)
  })

  it('is for one session at a time', async () => {
    await enqueue(sql, 'alice', 1)
    const end = await begun((by) => by`select from glimpse.queue_state for update`)
    expect(await move()).toMatchObject({ moved: null })
    await end('rollback')
    expect(await move()).toMatchObject({ moved: 1 })
  })

  it('looks and moves by keys alone, because Postgres compiles (jit) what it has to scan', async () => {
    const plans: string[] = []
    const watched = postgres(database.url, {
      max: 1,
      onnotice: ({ detail }) => detail?.includes('PLANNEDSTMT') && plans.push(detail),
    })
    onTestFinished(() => watched.end())
    await watched.unsafe('set client_min_messages = log; set debug_print_plan = on')
    const turn = () => watched`select moved, idle from glimpse.move_queue('{}', 100)`
    await turn()
    await enqueue(sql, 'alice', 1)
    await turn()
    await sql`update glimpse.queue_state set moved_at = now() - interval '2 seconds'`
    expect(await turn()).toMatchObject([{ moved: 0, idle: true }])
    expect(plans.length).toBeGreaterThan(10)
    // Postgres 18 counts what was ruled out, those before put it into the cost.
    expect(plans.filter((plan) => /disabled_nodes [1-9]|:total_cost 1\d{10}/.test(plan))).toEqual([])
  })
})

describe('EventQueue', () => {
  function start(now?: () => number) {
    const metrics = createMetrics()
    const pool = createPool(database.url, 1, 'queue-test')
    const queue = new EventQueue({ sql: pool, log: createLogger('silent'), metrics, ...(now && { now }) })
    queue.start()
    onTestFinished(async () => {
      await queue.stop()
      await pool.end()
    })
    return { queue, metrics }
  }

  it('moves each event once and in order, two of them beside writers', { timeout: 60_000 }, async () => {
    const queues = [start(), start()]
    const writers = ['alice', 'bob', 'carol'].map(async (user) => {
      for (const n of upTo(150)) {
        await enqueue(sql, user, n)
        // Not every call: a hint may be lost.
        if (n % 40 === 0) for (const { queue } of queues) queue.called()
      }
    })
    await Promise.all(writers)
    for (const user of ['alice', 'bob', 'carol'])
      await expect.poll(() => numbersOf(user), { timeout: 30_000 }).toEqual(upTo(150))
    const moved = async () => {
      let sum = 0
      for (const { metrics } of queues) sum += (await metrics.queueMoved.get()).values[0]?.value ?? 0
      return sum
    }
    await expect.poll(moved, { timeout: 30_000 }).toBe(450)
  })

  it('comes back to a user whose stream was held', { timeout: 60_000 }, async () => {
    await sql`select glimpse.append(('alice', 'a.b', '{"n":0}', now())::glimpse.new_event)`
    const end = await begun(
      (by) => by`select glimpse.append(('alice', 'a.b', '{"n":1}', now())::glimpse.new_event)`,
    )
    start()
    await enqueue(sql, 'alice', 2)
    await enqueue(sql, 'bob', 3)
    await expect.poll(() => numbersOf('bob'), { timeout: 30_000 }).toEqual([3])
    await end('commit')
    await expect.poll(() => numbersOf('alice'), { timeout: 30_000 }).toEqual([0, 1, 2])
  })
})

it('posting stories of new authors in opposite order waits for nobody', async () => {
  const posting = (by: Sql, author: string) => by`insert into glimpse.stories (author_id) values (${author})`
  for (const isolation of ['read committed', 'repeatable read']) {
    const [one, two] = [`one ${isolation}`, `two ${isolation}`]
    const first = await begun((by) => posting(by, one), isolation)
    const second = await begun((by) => posting(by, two).then(() => posting(by, one)), isolation)
    await first('commit')
    await second('commit')
    expect(await sql`select from glimpse.streams where user_id in (${one}, ${two})`).toHaveLength(2)
  }
})
