import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { open, TRANSPORTS } from '../support/clients/index.ts'
import { type Instance, startInstance } from '../support/instance.ts'
import { insertStory, insertViews, readLog, upTo } from '../support/sql-writer.ts'

const PATIENTLY = { timeout: 20_000, interval: 50 }

let instance: Instance
let sql: postgres.Sql
beforeAll(async () => {
  instance = await startInstance()
  sql = postgres(instance.database.url, { max: 4 })
})
afterAll(async () => {
  await sql.end()
  await instance.close()
})

/** Ends the backends of this database that the filter names; gives how many there were. */
async function terminate(application: string): Promise<number> {
  const rows = await sql`select pg_terminate_backend(pid) from pg_stat_activity
                          where datname = current_database() and pid <> pg_backend_pid()
                            and application_name = ${application}`
  return rows.length
}

describe('the LISTEN connection', () => {
  it('may be killed again and again under load: every event arrives once, in order', async () => {
    const token = await instance.token('author')
    const streams = await Promise.all(
      TRANSPORTS.map((transport) => open(transport, { url: instance.url, token })),
    )
    const story = await insertStory(sql, 'author')
    let kills = 0
    let written = 0
    // A session takes a while to come back, so the writer rests a little: else thousands are to be caught up with.
    for (; kills < 4; await sleep(5)) {
      await insertViews(sql, story, [`viewer ${written + 1}`, `viewer ${written + 2}`])
      written += 2
      if (written % 100 === 0 || kills > 0) kills += await terminate('glimpse-listen')
    }
    await insertViews(sql, story, ['the last'])
    const log = await readLog(sql, 'author')
    expect(log).toHaveLength(written + 1)
    for (const stream of streams) {
      const events = await stream.take(written + 1, 30_000)
      expect(events.map(({ json }) => json.seq)).toEqual(upTo(written + 1))
    }
  })

  it('lost while nothing is written is replaced, and readiness comes back', async () => {
    const token = await instance.token('idle')
    const stream = await open('sse', { url: instance.url, token })
    const sessions = async () => {
      const rows = await sql`select pid from pg_stat_activity
                              where datname = current_database() and application_name = 'glimpse-listen'`
      return rows.map(({ pid }) => pid)
    }
    // The test before may have ended it a moment ago.
    const before = await vi.waitUntil(async () => (await sessions())[0], PATIENTLY)
    expect(await terminate('glimpse-listen')).toBe(1)
    await vi.waitFor(async () => {
      expect((await fetch(`${instance.url}/readyz`)).status).toBe(200)
      const after = await sessions()
      expect(after).toHaveLength(1)
      expect(after).not.toContain(before)
    }, PATIENTLY)
    await insertViews(sql, await insertStory(sql, 'idle'), ['viewer'])
    await stream.take(1)
  })
})
