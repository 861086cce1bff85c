import { once } from 'node:events'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { createInterface } from 'node:readline'
import postgres from 'postgres'
import { describe, expect, it, onTestFinished } from 'vitest'
import { stablePort } from '../faults/prover/ports.ts'
import { call } from '../support/api.ts'
import { glimpse, spawnGlimpse } from '../support/cli.ts'
import { open } from '../support/clients/index.ts'
import { createDatabase } from '../support/database.ts'
import { startInstance } from '../support/instance.ts'
import { scrape } from '../support/metrics.ts'
import { NATS_SAMPLE, NatsServer, withoutNats } from '../support/nats-server.ts'
import { insertStory, insertViews } from '../support/sql-writer.ts'

async function listening(): Promise<Server> {
  const server = createServer().listen(0, '127.0.0.1')
  onTestFinished(() => void server.close())
  await once(server, 'listening')
  return server
}

/** The command in a process of its own, with the lines of its log, and how it ends. */
function start(environment: Record<string, string>) {
  const child = spawnGlimpse(['relay'], { environment })
  onTestFinished(() => void child.kill('SIGKILL'))
  const exited = new Promise((resolve) => child.once('close', resolve))
  const lines: { msg: string; url?: string; reason?: string }[] = []
  createInterface({ input: child.stdout ?? process.stdin }).on('line', (line) => lines.push(JSON.parse(line)))
  return { child, exited, lines }
}

describe('glimpse relay', () => {
  it.each([
    [{}, /glimpse relay needs BUS_URL and DATABASE_URL/],
    [{ BUS_URL: 'nats://127.0.0.1' }, /glimpse relay needs BUS_URL and DATABASE_URL/],
    [
      {
        BUS_URL: 'nats://127.0.0.1',
        DATABASE_URL: 'postgres://u@127.0.0.1/d',
        DATABASE_POOLER: 'transaction',
      },
      /DATABASE_POOLER, LISTEN_DATABASE_URL: behind a transaction pooler LISTEN needs a direct way/,
    ],
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
      const adminPort = String(await stablePort())
      onTestFinished(async () => {
        await sql.end()
        await server.kill()
        await database.drop()
      })
      const { child, exited, lines } = start({
        DATABASE_URL: database.url,
        BUS_URL: server.urlFor('relay'),
        NODE_ENV: 'production',
        ADMIN_PORT: adminPort,
        PORT: '0',
      })
      await expect
        .poll(() => lines.map(({ msg }) => msg), { timeout: 30_000 })
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

      // What Kubernetes and Prometheus ask it.
      const admin = `http://127.0.0.1:${adminPort}`
      const url = lines.find(({ msg }) => msg === 'starting to relay')?.url ?? ''
      for (const base of [admin, url]) {
        for (const path of ['/livez', '/healthz', '/readyz'])
          expect([path, (await call(base, path)).status]).toEqual([path, 200])
        expect((await call(base, '/events')).status).toBe(404)
        expect(await call(base, '/livez', { method: 'POST' })).toMatchObject({ status: 405 })
      }
      expect((await call(url, '/metrics')).status).toBe(404)
      const samples = await scrape(admin)
      expect(
        ['relay_ready', 'bus_relaying', 'bus_connected'].map((name) => samples.get(`glimpse_${name}`)),
      ).toEqual([1, 1, 1])
      for (const name of ['relayed', 'published', 'published_bytes', 'bursts'])
        expect(samples.get(`glimpse_bus_${name}_total`), name).toBeGreaterThan(0)
      // It is no instance: alerts count those by this.
      expect(samples.has('glimpse_ready')).toBe(false)
      expect((await scrape(instance.url)).get('glimpse_bus_heard_total')).toBeGreaterThan(0)

      await instance.close()
      child.kill('SIGTERM')
      expect(await exited).toBe(0)
    },
  )

  it.skipIf(withoutNats)(
    'says why it is not ready, and stops in time though NATS takes no byte',
    async () => {
      const [server, database] = await Promise.all([NatsServer.start(), createDatabase()])
      onTestFinished(async () => {
        await server.kill()
        await database.drop()
      })
      const { child, exited, lines } = start({
        // Of the two ways to the database it needs only this.
        LISTEN_DATABASE_URL: database.url,
        BUS_URL: server.url,
        PORT: '0',
        DRAIN_TIMEOUT_MS: '500',
      })
      await expect
        .poll(() => lines.map(({ msg }) => msg), { timeout: 30_000 })
        .toContain('relaying from Postgres to NATS')
      const url = lines.find((line) => line.url !== undefined)?.url ?? ''
      expect((await call(url, '/readyz')).status).toBe(200)
      server.signal('SIGSTOP')
      await expect
        .poll(async () => (await call(url, '/readyz')).json, { timeout: 30_000 })
        .toEqual({ status: 'not ready', reasons: ['no connection to NATS'] })
      expect((await scrape(url)).get('glimpse_bus_connected')).toBe(0)
      expect((await call(url, '/livez')).status).toBe(200)
      child.kill('SIGTERM')
      expect(await exited).toBe(0)
    },
  )

  it.skipIf(withoutNats)('waits for a Postgres that is away, and stops all the same', async () => {
    const server = await NatsServer.start()
    onTestFinished(() => server.kill())
    const { child, exited, lines } = start({
      DATABASE_URL: `postgres://u@127.0.0.1:${await stablePort()}/d`,
      BUS_URL: server.url,
      PORT: '0',
    })
    await expect
      .poll(() => lines.map(({ reason }) => reason), { timeout: 30_000 })
      .toContainEqual(expect.stringMatching(/database in DATABASE_URL .*: connection refused/))
    const url = lines.find((line) => line.url !== undefined)?.url ?? ''
    expect((await call(url, '/readyz')).json).toEqual({
      status: 'not ready',
      reasons: ['no session with Postgres'],
    })
    child.kill('SIGTERM')
    expect(await exited).toBe(0)
  })

  it('does not start where its port is taken, and names the variable', async () => {
    const { port } = (await listening()).address() as AddressInfo
    const { code, stdout } = await glimpse(['relay'], {
      environment: {
        BUS_URL: 'nats://127.0.0.1:1',
        DATABASE_URL: 'postgres://u@127.0.0.1/d',
        ADMIN_PORT: String(port),
      },
    })
    expect(code).toBe(1)
    expect(stdout).toMatch(/in use by another process; set ADMIN_PORT/)
  })
})
