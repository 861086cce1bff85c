import { mkdtemp } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import postgres from 'postgres'
import { describe, expect, it, onTestFinished } from 'vitest'
import { startEmbeddedPostgres } from '../../src/embedded/index.ts'
import { createLogger } from '../../src/observability/log.ts'
import { parseConnectionUrl } from '../../src/postgres/connection-url.ts'
import { migrate } from '../../src/store/migrate.ts'
import { call } from '../support/api.ts'
import { channelOf } from '../support/channel.ts'
import { glimpse, type Invocation } from '../support/cli.ts'
import { open } from '../support/clients/index.ts'
import { listening, problems, set, World } from '../support/doctor.ts'
import { query } from '../support/embedded/server.ts'
import { startInstance } from '../support/instance.ts'
import { createSigningKey, KeySetServer } from '../support/key-set-server.ts'

const world = new World()

describe('glimpse doctor', () => {
  it('finds no problem where there is none, and ends with 0', async () => {
    const { code, findings } = await world.examine({}, { started: true })
    expect(problems(findings)).toEqual([])
    expect(code).toBe(0)
    expect(findings.filter(({ verdict }) => verdict === 'ok').map(({ check }) => check)).toEqual(
      expect.arrayContaining([
        'node',
        'configuration',
        'open files',
        'port',
        'version',
        'connections',
        'clocks',
        'notify queue',
        'rights',
        'migrations',
        'triggers',
        'listen',
      ]),
    )
  })

  it('looks for no embedded Postgres where DATABASE_URL is at problem', async () => {
    const { findings } = await world.examine({ environment: { DATABASE_URL: 'mysql://root@127.0.0.1/db' } })
    expect(findings.filter(({ check }) => check === 'database')).toEqual([
      { check: 'database', verdict: 'skipped', says: 'DATABASE_URL has to be fixed first' },
    ])
    expect(findings.map(({ check }) => check)).not.toContain('disk')
  })

  it('tells all problems at once', async () => {
    const taken = createServer((socket) => socket.destroy())
    const environment = {
      PORT: String(await listening(taken)),
      LOG_LEVEL: 'loud',
      JWT_SECRET: 'short',
      DATA_DIR: join(world.folder, 'nowhere'),
    }
    await query(world.database.url, 'alter table glimpse.story_views disable trigger story_viewed')
    const { findings } = await world.examine({ environment })
    expect(problems(findings).map(({ check }) => check)).toEqual(
      expect.arrayContaining(['configuration', 'port', 'triggers']),
    )
    expect(problems(findings)).toHaveLength(4)
  })

  it('leaves nothing behind and notifies nobody', async () => {
    const sql = postgres(world.database.url, { max: 1 })
    onTestFinished(() => sql.end())
    const heard: string[] = []
    const channel = await channelOf(sql)
    await sql.listen(channel, (payload) => heard.push(payload))
    await world.examine()
    await sql.notify(channel, 'last')
    await expect.poll(() => heard).toEqual(['last'])
    const [left] = await sql`
      select (select count(*)::int from glimpse.events) as events, (select count(*)::int from glimpse.streams) as streams,
             (select count(*)::int from glimpse.stories) as stories`
    expect(left).toEqual({ events: 0, streams: 0, stories: 0 })
  })

  it('knows a key set that can be used', async () => {
    const server = await KeySetServer.start(await createSigningKey('ES256', 'one'))
    onTestFinished(() => server.close())
    const { findings } = await world.examine({ environment: { JWT_SECRET: '', JWKS_URL: server.url } })
    expect(findings).toContainEqual({
      check: 'key set',
      verdict: 'ok',
      says: expect.stringMatching(/1 usable/),
    })
  })

  it.each<[string, () => Promise<Invocation> | Invocation, string, RegExp]>([
    [
      'HOST open to all outside production',
      set({ HOST: '0.0.0.0', DEV_TOKENS: 'on' }),
      'secret',
      /POST \/dev\/tokens/,
    ],
    ['a heartbeat of a minute', set({ HEARTBEAT_INTERVAL_MS: '60000' }), 'heartbeat', /proxies/],
    [
      'a default that a laptop cannot hold',
      () => ({
        environment: { MAX_CONNECTIONS: '' },
        preload: 'process.report.getReport = () => ({ userLimits: { open_files: { soft: 256 } } })',
      }),
      'open files',
      /limit is 256, but/,
    ],
  ])('warns of %s, and ends with 0', async (_, plant, check, says) => {
    const { code, findings } = await world.examine(await plant())
    expect(findings).toContainEqual(
      expect.objectContaining({ check, verdict: 'warning', says: expect.stringMatching(says) }),
    )
    expect(code).toBe(0)
  })

  it('prints a line for each finding and the fix below it', async () => {
    const { code, stdout } = await glimpse(['doctor'], {
      cwd: world.folder,
      environment: { ...world.variables, PORT: 'eighty' },
    })
    expect(code).toBe(1)
    expect(stdout).toMatch(/^✖ configuration +PORT: must be .*\n +fix: correct PORT/m)
    expect(stdout).toMatch(/\n1 problem, \d+ warnings?\n$/)
  })

  it('waits for no database where the embedded one is not running', async () => {
    const { findings } = await world.examine({
      environment: { DATABASE_URL: '', JWT_SECRET: '', DATA_DIR: join(world.folder, 'new') },
    })
    expect(findings).toContainEqual(expect.objectContaining({ check: 'database', verdict: 'skipped' }))
    expect(findings).toContainEqual(expect.objectContaining({ check: 'disk', verdict: 'ok' }))
  })
})

describe('a server of its own', () => {
  async function ownServer(settings: Record<string, string>): Promise<{ url: string; dataDir: string }> {
    const dataDir = await mkdtemp(join(world.folder, 'server-'))
    const server = await startEmbeddedPostgres({
      dataDir,
      log: createLogger('silent'),
      settings: { fsync: 'off', ...settings },
    })
    onTestFinished(() => server.release())
    return { url: server.url, dataDir }
  }

  it('is found with its NOTIFY queue full, and with too few connections', async () => {
    const { url, dataDir } = await ownServer({ max_connections: '15', max_notify_queue_pages: '64' })
    const stuck = postgres(url, { max: 1 })
    const sql = postgres(url, { max: 1, onnotice: () => {} })
    onTestFinished(async () => {
      await Promise.all([stuck.end({ timeout: 0 }), sql.end({ timeout: 0 })])
    })
    const session = await stuck.reserve()
    await session`listen somewhere`
    await session`begin`
    await session`select 1`
    for (let usage = 0; usage < 0.6; ) {
      const [row] = await sql<{ usage: number }[]>`
        select pg_notification_queue_usage() as usage, pg_notify('nobody', repeat('x', 7000) || n)
          from generate_series(1, 5) as n`
      usage = row?.usage ?? 0
    }
    const { findings } = await world.examine({ environment: { DATABASE_URL: '', DATA_DIR: dataDir } })
    expect(problems(findings).map(({ check }) => check)).toEqual(
      expect.arrayContaining(['connections', 'notify queue']),
    )
  })

  it('serves a role that has the rights which the doctor asks for, and no more', async () => {
    const { url } = await ownServer({})
    await migrate(parseConnectionUrl(url), createLogger('silent'))
    await query(url, "create role app login password 'app'")
    const environment = {
      DATABASE_URL: Object.assign(new URL(url), { username: 'app', password: 'app' }).href,
      MIGRATE: 'off',
    }
    const before = problems((await world.examine({ environment })).findings).find(
      ({ check }) => check === 'rights',
    )
    expect(before?.fix).toMatch(/^as the owner: grant usage/)
    await query(url, before?.fix?.replace('as the owner: ', '') ?? '')
    expect(problems((await world.examine({ environment })).findings)).toEqual([])

    const instance = await startInstance(environment, { database: { url, drop: async () => {} } })
    onTestFinished(() => instance.close())
    const [alice, bob] = [await instance.caller('alice'), await instance.caller('bob')]
    const stream = await open('ws', { url: instance.url, token: alice.token })
    const story = await alice.post()
    await bob.view(story)
    await bob.react(story, '👏')
    const [, second] = await stream.take(2)
    expect((await alice.call('PUT', '/me/read', { cursor: second?.json.id })).status).toBe(200)
    await alice.call('DELETE', `/stories/${story}`)
    expect((await call(instance.url, '/readyz')).status).toBe(200)
  })
})
