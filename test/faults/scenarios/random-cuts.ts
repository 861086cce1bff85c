import { setTimeout as sleep } from 'node:timers/promises'
import { PgBouncer, pgBouncerVersion } from '../../support/pgbouncer.ts'
import { TcpProxy } from '../../support/tcp-proxy.ts'
import type { Bench } from '../prover/bench.ts'
import { believesNotify } from '../prover/plants.ts'
import type { Database } from '../prover/postgres-server.ts'
import type { Scenario } from '../prover/scenario.ts'

/** How long it goes on; `--minutes=` says otherwise. */
const MINUTES = 2
const BRIEF_MS = 20_000
/** Between two of them: shorter than it takes to heal, so that they meet each other. */
const PAUSE_MS = { least: 200, most: 2500 }
/** What silent flows may take to be noticed and replaced. */
const HEALED_MS = 30_000

/** What lies between the instances and Postgres. */
interface Way {
  /** Before the pooler, or Postgres where there is none. */
  readonly statements: TcpProxy
  readonly listen: TcpProxy
  /** Undefined where it is not installed. */
  readonly pooler: PgBouncer | undefined
}

const WAYS = new WeakMap<Database, Way>()

/** The same sequence for the same seed (Numerical Recipes' LCG). */
function dice(seed: number): (sides: number) => number {
  let state = seed >>> 0
  return (sides) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * sides)
  }
}

/** Backends of the service, some of them at a time: `pg_cancel_backend` or `pg_terminate_backend`. */
function endSome(bench: Bench, how: 'cancel' | 'terminate', count: number): Promise<unknown> {
  return bench.sql.unsafe(`
    with chosen as materialized (
      select pid from pg_stat_activity
       where datname = current_database() and application_name like 'glimpse%' and pid <> pg_backend_pid()
       order by random() limit ${count}
    )
    select pg_${how}_backend(pid) from chosen`)
}

type Cut = (bench: Bench, way: Way, roll: (sides: number) => number) => Promise<unknown>

const CUTS: Readonly<Record<string, Cut>> = {
  'statements cancelled': (bench, _, roll) => endSome(bench, 'cancel', 1 + roll(4)),
  'backends terminated': (bench, _, roll) => endSome(bench, 'terminate', 1 + roll(4)),
  'flows of statements swallowed': async (_, { statements }) => statements.swallow(),
  'flows of LISTEN swallowed': async (_, { listen }) => listen.swallow(),
  'connections reset': async (_, { statements, listen }, roll) =>
    (roll(2) === 0 ? statements : listen).resetAll(),
  'poolers restarted': async (_, { pooler }, roll) => {
    await pooler?.kill()
    await sleep(roll(500))
    await pooler?.launch()
  },
}

export const scenario: Scenario = {
  name: 'random-cuts',
  promise:
    'statements cancelled, backends ended, flows swallowed, poolers restarted, at random and over each other: nothing is lost, nobody needs a restart',
  quick: false,
  setup: { settleMs: 40_000 },
  // Noticed at the latest by then, and read from the log.
  allowed: { lagMs: HEALED_MS + 5000 },
  planted: { bug: believesNotify, foundIn: 'lost' },
  async prepare(server, database) {
    const { username, password } = new URL(database.url)
    const pooler =
      pgBouncerVersion() === undefined
        ? undefined
        : await PgBouncer.start({
            port: server.port,
            mode: 'transaction',
            users: [{ name: username, password }],
          })
    const way = {
      pooler,
      statements: await TcpProxy.start({ host: '127.0.0.1', port: pooler?.port ?? server.port }),
      listen: await TcpProxy.start({ host: '127.0.0.1', port: server.port }),
    }
    WAYS.set(database, way)
    return {
      environment: {
        DATABASE_URL: way.statements.urlFor(database.url),
        LISTEN_DATABASE_URL: way.listen.urlFor(database.url),
        DATABASE_POOLER: pooler === undefined ? 'none' : 'transaction',
      },
      async close() {
        await way.statements.close()
        await way.listen.close()
        await pooler?.stop()
      },
    }
  },
  async run(bench) {
    const way = WAYS.get(bench.database)
    if (way === undefined) throw new Error('no way to Postgres')
    const minutes = Number(process.env.GLIMPSE_FAULT_MINUTES ?? MINUTES)
    const totalMs = bench.brief ? BRIEF_MS : minutes * 60_000
    const seed = Math.floor(Math.random() * 2 ** 32)
    const roll = dice(seed)
    const counts = new Map<string, number>()
    const startedAt = performance.now()
    for (let left = totalMs; left > 0; left = totalMs - (performance.now() - startedAt)) {
      const names = Object.keys(CUTS)
      const name = names[roll(names.length)] ?? ''
      counts.set(name, (counts.get(name) ?? 0) + 1)
      bench.progress(`${Math.round(left / 1000)} s left, ${name}`)
      await CUTS[name]?.(bench, way, roll)
      await sleep(PAUSE_MS.least + roll(PAUSE_MS.most - PAUSE_MS.least))
    }
    bench.note(`seed ${seed}: ${[...counts].map(([name, count]) => `${count} × ${name}`).join(', ')}`)
    await bench.within(HEALED_MS, 'every instance is ready after the last', (ms) => bench.untilReady(ms))
    await bench.within(HEALED_MS, 'every client has everything after the last', (ms) =>
      bench.untilCaughtUp(ms),
    )
    bench.must(bench.crowd.ends === 0, 'nobody loses a connection')
  },
}
