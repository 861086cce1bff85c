import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { open, TRANSPORTS } from '../support/clients/index.ts'
import { type Instance, startInstance } from '../support/instance.ts'
import { insertStory, insertViews, readLog, upTo } from '../support/sql-writer.ts'

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
    while (kills < 4) {
      await insertViews(sql, story, [`viewer ${written + 1}`, `viewer ${written + 2}`])
      written += 2
      if (written % 100 === 0 || kills > 0) kills += await terminate('glimpse-listen')
    }
    await insertViews(sql, story, ['the last'])
    const log = await readLog(sql, 'author')
    expect(log).toHaveLength(written + 1)
    for (const stream of streams) {
      const events = await stream.take(written + 1, 20_000)
      expect(events.map(({ json }) => json.seq)).toEqual(upTo(written + 1))
    }
  })

  it('lost while nothing is written is replaced, and readiness comes back', async () => {
    const token = await instance.token('idle')
    const stream = await open('sse', { url: instance.url, token })
    const [before] = await sql`select pid from pg_stat_activity
                                where datname = current_database() and application_name = 'glimpse-listen'`
    expect(await terminate('glimpse-listen')).toBe(1)
    await expect
      .poll(
        async () => {
          const rows = await sql`select pid from pg_stat_activity
                                  where datname = current_database() and application_name = 'glimpse-listen'`
          const { status } = await fetch(`${instance.url}/readyz`)
          return status === 200 && rows.length === 1 && rows[0]?.pid !== before?.pid
        },
        { timeout: 15_000 },
      )
      .toBe(true)
    await insertViews(sql, await insertStory(sql, 'idle'), ['viewer'])
    await stream.take(1)
  })
})
