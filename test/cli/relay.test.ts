import { createInterface } from 'node:readline'
import postgres from 'postgres'
import { describe, expect, it, onTestFinished } from 'vitest'
import { glimpse, spawnGlimpse } from '../support/cli.ts'
import { open } from '../support/clients/index.ts'
import { createDatabase } from '../support/database.ts'
import { startInstance } from '../support/instance.ts'
import { NATS_SAMPLE, NatsServer, withoutNats } from '../support/nats-server.ts'
import { insertStory, insertViews } from '../support/sql-writer.ts'

describe('glimpse relay', () => {
  it.each([
    [{}, /glimpse relay needs BUS_URL and DATABASE_URL/],
    [{ BUS_URL: 'nats://127.0.0.1' }, /glimpse relay needs BUS_URL and DATABASE_URL/],
    [{ BUS_URL: 'http://127.0.0.1', DATABASE_URL: 'postgres://u@127.0.0.1/d' }, /BUS_URL: must be a nats/],
    [
      { BUS_URL: 'nats://nats.example', DATABASE_URL: 'postgres://u@127.0.0.1/d', NODE_ENV: 'production' },
      /BUS_URL: with NODE_ENV=production it must be tls:/,
    ],
  ])('does not start with %j, and says why', async (environment: Record<string, string>, problem) => {
    const { code, stdout } = await glimpse(['relay'], { environment })
    expect(code).toBe(1)
    expect(stdout).toMatch(problem)
  })

  it.skipIf(withoutNats)(
    'relays for instances that only hear, without keys of any kind, until SIGTERM',
    async () => {
      const [server, database] = await Promise.all([
        NatsServer.start({ config: NATS_SAMPLE }),
        createDatabase(),
      ])
      const sql = postgres(database.url, { max: 1 })
      const child = spawnGlimpse(['relay'], {
        environment: { DATABASE_URL: database.url, BUS_URL: server.urlFor('relay'), NODE_ENV: 'production' },
      })
      const exited = new Promise((resolve) => child.once('close', resolve))
      const lines: string[] = []
      createInterface({ input: child.stdout ?? process.stdin }).on('line', (line) => lines.push(line))
      onTestFinished(async () => {
        child.kill('SIGKILL')
        await sql.end()
        await server.kill()
        await database.drop()
      })
      await expect
        .poll(() => lines.join('\n'), { timeout: 30_000 })
        .toContain('relaying from Postgres to NATS')
      const instance = await startInstance(
        { BUS_URL: server.urlFor('instance'), BUS_RELAY: 'off' },
        { database },
      )
      onTestFinished(() => instance.close())
      const stream = await open('sse', { url: instance.url, token: await instance.token('alice') })
      await insertViews(sql, await insertStory(sql, 'alice'), ['bob'])
      expect(JSON.parse((await stream.take(1))[0]?.raw ?? '').seq).toBe(1)
      const [{ names }] = await sql<[{ names: string[] }]>`
      select array_agg(application_name) as names from pg_stat_activity
       where datname = current_database() and application_name like '%-listen'`
      expect(names).toEqual(['glimpse-listen'])
      await instance.close()
      child.kill('SIGTERM')
      expect(await exited).toBe(0)
    },
  )
})
