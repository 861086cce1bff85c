import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import { describe, expect, inject, it, onTestFinished } from 'vitest'
import { call } from '../support/api.ts'
import { glimpse, spawnGlimpse } from '../support/cli.ts'
import { open } from '../support/clients/index.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { type Environment, MainProcess, spawnInstance, startInstance } from '../support/instance.ts'
import { NatsServer, withoutNats } from '../support/nats-server.ts'
import { PgBouncer, type PgBouncerOptions, pgBouncerVersion } from '../support/pgbouncer.ts'
import { insertStory, upTo } from '../support/sql-writer.ts'
import { signToken, TEST_SECRET } from '../support/token.ts'

const LOAD_MS = 8000
/** Fewer views prove little; a slow machine takes longer for them, but no longer than this. */
const ENOUGH = 100
const PATIENCE_MS = 60_000
const CALLERS = 48
const READ_EVERY = 8

async function database(): Promise<TestDatabase> {
  const made = await createDatabase()
  onTestFinished(() => made.drop())
  return made
}

/** A PgBouncer before the test server. */
async function bouncer(options: Pick<PgBouncerOptions, 'mode' | 'settings'>): Promise<PgBouncer> {
  const { username, password, port } = new URL(inject('serverUrl'))
  const started = await PgBouncer.start({
    port: Number(port),
    users: [{ name: username, password }],
    ...options,
  })
  onTestFinished(() => started.stop())
  return started
}

interface Load {
  /** How often each status came. */
  readonly statuses: Map<number, number>
  readonly viewed: number
}

/** Views, reactions, stories, reads and tickets, all at once, until the time is over. */
async function load(urls: readonly string[], story: string): Promise<Load> {
  const statuses = new Map<number, number>()
  const began = performance.now()
  let viewed = 0
  const goesOn = () => performance.now() - began < (viewed > ENOUGH ? LOAD_MS : PATIENCE_MS)
  const caller = async (nth: number) => {
    for (let n = 0; goesOn(); n++) {
      const token = await signToken(`viewer ${nth} ${n}`)
      const url = urls[n % urls.length] ?? ''
      const ask = async (method: string, path: string, json?: unknown) => {
        const { status } = await call(url, path, { method, token, ...(json === undefined ? {} : { json }) })
        statuses.set(status, (statuses.get(status) ?? 0) + 1)
        return status
      }
      if ((await ask('POST', `/stories/${story}/view`)) === 200) viewed++
      if (n % READ_EVERY !== 0) continue
      await ask('GET', `/stories/${story}`)
      await ask('POST', '/stories', { text: 'mine' })
      await ask('POST', '/tickets')
      await ask('GET', '/me/connections')
    }
  }
  await Promise.all(Array.from({ length: CALLERS }, (_, nth) => caller(nth)))
  return { statuses, viewed }
}

/** What the server connections of a pooler have kept of those who used them: all are looked at. */
async function remains(url: string): Promise<{ prepared: number; settings: string[] }> {
  const sql = postgres(url, { max: 4, prepare: false })
  try {
    const found = await Promise.all(
      Array.from({ length: 16 }, async () => {
        const [row] = await sql<[{ prepared: number; settings: string[] | null }]>`
          select (select count(*)::int from pg_prepared_statements) as prepared,
                 (select array_agg(name) from pg_settings where source = 'session') as settings, pg_sleep(0.05)`
        return row
      }),
    )
    // What PgBouncer itself keeps in step with each client.
    const tracked = [
      'application_name',
      'client_encoding',
      'DateStyle',
      'TimeZone',
      'standard_conforming_strings',
    ]
    return {
      prepared: Math.max(...found.map(({ prepared }) => prepared)),
      settings: [...new Set(found.flatMap(({ settings }) => settings ?? []))].filter(
        (name) => !tracked.includes(name),
      ),
    }
  } finally {
    await sql.end()
  }
}

describe.skipIf(pgBouncerVersion() === undefined)('behind a real PgBouncer', () => {
  it.each([
    {
      mode: 'transaction',
      // Fewer than an instance opens: every statement may come to another server process.
      settings: { default_pool_size: 4 },
      environment: (direct: string, pooled: string): Environment & { DATABASE_URL: string } => ({
        DATABASE_URL: pooled,
        LISTEN_DATABASE_URL: direct,
        DATABASE_POOLER: 'transaction',
      }),
    },
    {
      mode: 'session',
      settings: { default_pool_size: 60 },
      environment: (_: string, pooled: string): Environment & { DATABASE_URL: string } => ({
        DATABASE_URL: pooled,
      }),
    },
  ] as const)('in $mode mode, two instances under load answer no 5xx, stay ready, and deliver every view', async ({
    mode,
    settings,
    environment,
  }) => {
    const { url } = await database()
    const pooler = await bouncer({ mode, settings })
    const variables = environment(url, pooler.urlFor(url))
    const instances = await Promise.all([1, 2].map(() => spawnInstance({ ...variables, MIGRATE: 'off' })))
    onTestFinished(async () => {
      for (const instance of instances) await instance.kill('SIGKILL')
    })
    const sql = postgres(url, { max: 1 })
    onTestFinished(() => sql.end())
    const story = await insertStory(sql, 'alice')
    const urls = instances.map((instance) => instance.url)
    const [first = '', second = ''] = urls
    const token = await signToken('alice')
    const streams = [await open('sse', { url: first, token }), await open('ws', { url: second, token })]
    const unready = new Set<number>()
    const readiness = setInterval(() => {
      for (const each of urls)
        void call(each, '/readyz').then(({ status }) => status === 200 || unready.add(status))
    }, 250)
    onTestFinished(() => clearInterval(readiness))

    const { statuses, viewed } = await load(urls, story)
    clearInterval(readiness)
    expect([...statuses.keys()].sort()).toEqual([200, 201])
    expect([...unready]).toEqual([])
    expect(viewed).toBeGreaterThan(ENOUGH)
    for (const stream of streams)
      expect((await stream.take(viewed)).map(({ json }) => json.seq)).toEqual(upTo(viewed))
    if (mode === 'transaction')
      expect(await remains(pooler.urlFor(url))).toEqual({ prepared: 0, settings: [] })
  })

  it('a restart of it under load loses nothing and needs no restart of ours', async () => {
    const { url } = await database()
    const pooler = await bouncer({ mode: 'transaction', settings: { default_pool_size: 4 } })
    const instance = await spawnInstance({
      DATABASE_URL: pooler.urlFor(url),
      LISTEN_DATABASE_URL: url,
      DATABASE_POOLER: 'transaction',
      MIGRATE: 'off',
    })
    onTestFinished(async () => void (await instance.kill('SIGKILL')))
    const sql = postgres(url, { max: 1 })
    onTestFinished(() => sql.end())
    const story = await insertStory(sql, 'alice')
    const stream = await open('sse', { url: instance.url, token: await signToken('alice') })
    const loading = load([instance.url], story)
    for (let restarts = 0; restarts < 3; restarts++) {
      await sleep(1500)
      await pooler.kill()
      await sleep(200)
      await pooler.launch()
    }
    const { statuses } = await loading
    // What passes by itself, and nothing else.
    for (const status of statuses.keys()) expect([200, 201, 503]).toContain(status)
    const [{ head }] = await sql<[{ head: number }]>`
      select head::int as head from glimpse.streams where user_id = 'alice'`
    expect((await stream.take(head)).map(({ json }) => json.seq)).toEqual(upTo(head))
    expect((await call(instance.url, '/readyz')).status).toBe(200)
  })

  it.each([
    'off',
    'on',
  ])('in transaction mode that is not declared, a start with MIGRATE=%s is refused and says what to set', async (migrate) => {
    const { url } = await database()
    const pooler = await bouncer({ mode: 'transaction' })
    const main = new MainProcess({
      PORT: '0',
      JWT_SECRET: TEST_SECRET,
      DATABASE_URL: pooler.urlFor(url),
      MIGRATE: migrate,
    })
    onTestFinished(() => void main.child.kill('SIGKILL'))
    expect(await main.exited).toEqual({ code: 1, signal: null })
    expect(main.lines).toHaveLength(1)
    expect(main.lines[0]?.msg).toMatch(/DATABASE_POOLER=transaction.*LISTEN_DATABASE_URL/)
    const doctor = await glimpse(['doctor'], {
      environment: { DATABASE_URL: pooler.urlFor(url), JWT_SECRET: TEST_SECRET },
    })
    expect(doctor.code).toBe(1)
    expect(doctor.stdout).toMatch(/transaction pooler that is not declared/)
  })

  it.skipIf(withoutNats)(
    'in transaction mode, a relay refuses it, and takes the direct way beside it',
    async () => {
      const { url } = await database()
      const [pooler, nats] = await Promise.all([bouncer({ mode: 'transaction' }), NatsServer.start()])
      onTestFinished(() => nats.kill())
      const pooled = { DATABASE_URL: pooler.urlFor(url), BUS_URL: nats.url }
      const relay = await glimpse(['relay'], { environment: pooled })
      expect([relay.code, relay.stdout]).toEqual([
        1,
        expect.stringMatching(/DATABASE_POOLER=transaction.*LISTEN_DATABASE_URL/),
      ])
      const alone = { LISTEN_DATABASE_URL: pooler.urlFor(url), BUS_URL: nats.url }
      expect((await glimpse(['relay'], { environment: alone })).stdout).toMatch(
        /LISTEN_DATABASE_URL: it goes through/,
      )
      for (const environment of [pooled, alone]) {
        const doctor = await glimpse(['doctor', '--relay'], { environment })
        expect(doctor.stdout).toMatch(/goes through a transaction pooler/)
      }

      const right = { ...pooled, DATABASE_POOLER: 'transaction', LISTEN_DATABASE_URL: url }
      const { code, stdout } = await glimpse(['doctor', '--relay'], { environment: right })
      expect([code, stdout]).toEqual([
        0,
        expect.stringMatching(/declared to go through a transaction pooler/),
      ])
      const child = spawnGlimpse(['relay'], { environment: right })
      onTestFinished(() => void child.kill('SIGKILL'))
      let said = ''
      child.stdout?.on('data', (bytes) => {
        said += bytes
      })
      await expect.poll(() => said).toContain('relaying from Postgres to NATS')
    },
  )

  it('in transaction mode, with one connection and load of others, it is still found', async () => {
    const { url } = await database()
    const pooler = await bouncer({ mode: 'transaction', settings: { default_pool_size: 2 } })
    const others = postgres(pooler.urlFor(url), { max: 6, prepare: false })
    onTestFinished(() => others.end({ timeout: 1 }))
    let busy = true
    const loading = Promise.all(
      Array.from({ length: 6 }, async () => {
        while (busy) await others`select 1`
      }),
    )
    try {
      await expect(
        startInstance({ DATABASE_URL: pooler.urlFor(url) }, { database: { url, drop: async () => {} } }),
      ).rejects.toThrow(/DATABASE_POOLER=transaction/)
    } finally {
      busy = false
      await loading
    }
  })

  it('in transaction mode, as the way to LISTEN, is refused by that variable', async () => {
    const { url } = await database()
    const pooler = await bouncer({ mode: 'transaction' })
    for (const environment of [
      { LISTEN_DATABASE_URL: pooler.urlFor(url) },
      {
        DATABASE_URL: pooler.urlFor(url),
        LISTEN_DATABASE_URL: pooler.urlFor(url),
        DATABASE_POOLER: 'transaction',
      },
    ])
      for (const MIGRATE of ['on', 'off'])
        await expect(
          startInstance({ ...environment, MIGRATE }, { database: { url, drop: async () => {} } }),
        ).rejects.toThrow(/^LISTEN_DATABASE_URL: /)
  })
})
