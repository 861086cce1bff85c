import postgres from 'postgres'
import type { Bench } from '../prover/bench.ts'
import { until } from '../prover/crowd.ts'
import { Instance } from '../prover/instance.ts'
import type { Plant } from '../prover/plants.ts'
import type { Scenario } from '../prover/scenario.ts'

const TOGETHER = 5
const START_LIMIT_MS = 30_000

const failsAtTheLock: Plant = {
  name: 'a held migration lock is fatal',
  edits: [
    {
      file: 'src/store/migrate.ts',
      find: 'await sleep(POLL_MS, undefined, { signal })',
      put: "throw new Error('somebody else is migrating')",
    },
  ],
}

export const scenario: Scenario = {
  name: 'start-together',
  promise:
    '5 instances start at once on an empty database, the migrating one is killed: the others are healthy, each migration is applied once',
  quick: false,
  setup: { instances: 1, clients: { sse: 4, ws: 4, poll: 1 }, authors: 2, rate: { http: 10, sql: 10 } },
  planted: { bug: failsAtTheLock, foundIn: 'unkept' },
  async run(bench) {
    await bench.repeat(5, 1, async () => {
      await startOnEmpty(bench, async (instances) => {
        for (const instance of instances) instance.launch()
        bench.must(await allReady(instances), 'of five that start at once, all get ready')
      })
      await startOnEmpty(bench, killTheMigrating(bench))
    })
  },
}

type Start = (instances: readonly Instance[], sql: postgres.Sql) => Promise<void>

async function startOnEmpty(bench: Bench, start: Start): Promise<void> {
  const database = await bench.postgres.createDatabase()
  const sql = postgres(database.adminUrl, { max: 2, onnotice: () => {} })
  const instances = await Promise.all(
    Array.from({ length: TOGETHER }, () => Instance.create(bench.main, { DATABASE_URL: database.url })),
  )
  try {
    await start(instances, sql)
    const applied = await sql<{ name: string }[]>`select name from glimpse.migrations order by id`.catch(
      () => [],
    )
    const names = applied.map(({ name }) => name)
    bench.must(names.length > 0, 'the migrations are applied')
    bench.must(new Set(names).size === names.length, `each migration is applied once, not ${names}`)
    bench.must([...names].sort().join() === names.join(), `the migrations are applied in order, not ${names}`)
  } finally {
    await Promise.all(instances.map((instance) => instance.close()))
    await sql.end({ timeout: 1 })
    await bench.postgres.dropDatabase(database)
  }
}

/** The first is caught half-way through its migrations, with the others waiting behind it, and killed. */
function killTheMigrating(bench: Bench): Start {
  return async ([first, ...others], sql) => {
    if (first === undefined) throw new Error('no instances')
    await sql`create schema glimpse`
    await sql`grant all on schema glimpse to public`
    // A table of that name, made and not committed: the second migration waits for what becomes of it.
    const obstacle = await sql.reserve()
    await obstacle`begin`
    await obstacle`create table glimpse.events (id int)`
    try {
      first.launch()
      bench.must(await until(START_LIMIT_MS, () => holds(sql)), 'the first one is migrating')
      for (const instance of others) instance.launch()
      const queued = await until(START_LIMIT_MS, () => asks(sql, others.length))
      bench.must(queued, 'the others wait for the first one')
      await first.end('SIGKILL')
    } finally {
      await obstacle`rollback`
      obstacle.release()
    }
    bench.must(await allReady(others), 'after the migrating one was killed, all others get ready')
    await first.start()
  }
}

/** Whether somebody migrates, and has come to the obstacle. */
async function holds(sql: postgres.Sql): Promise<boolean> {
  const rows = await sql`
    select from pg_locks join pg_stat_activity using (pid)
     where datname = current_database() and application_name = 'glimpse-migrate'
       and locktype = 'transactionid' and not granted`
  return rows.length > 0
}

/** Whether so many ask again and again for the lock that one migrates under. */
async function asks(sql: postgres.Sql, count: number): Promise<boolean> {
  const rows = await sql`
    select from pg_stat_activity
     where datname = current_database() and application_name = 'glimpse-migrate'
       and query like '%pg_try_advisory_lock%'`
  return rows.length >= count
}

/** Waits until all are ready; no where one ends. */
async function allReady(instances: readonly Instance[]): Promise<boolean> {
  let ready = false
  await until(
    START_LIMIT_MS,
    async () => {
      if (instances.some(({ pid }) => pid === undefined)) return true
      ready = !(await Promise.all(instances.map((instance) => instance.ready()))).includes(false)
      return ready
    },
    50,
  )
  return ready
}
