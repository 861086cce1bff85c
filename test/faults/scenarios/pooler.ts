import { execFile } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { DeafPooler } from '../../support/deaf-pooler.ts'
import { PgBouncer, pgBouncerVersion } from '../../support/pgbouncer.ts'
import { TEST_SECRET } from '../../support/token.ts'
import type { Plant } from '../prover/plants.ts'
import type { Scenario } from '../prover/scenario.ts'

const START_LIMIT_MS = 8000

const believesListen: Plant = {
  name: 'LISTEN is believed at start',
  edits: [
    {
      file: 'src/bus/postgres-bus.ts',
      find: 'if (!(await this.#probe())) {',
      put: 'if ((await this.#probe()) === undefined) {',
    },
  ],
}

interface Pooler {
  urlFor(url: string): string
  close(): Promise<void>
}

/** The real one where it is installed; else a stand-in, which differs in that each client has a server process of its own. */
async function startPooler(port: number, url: string): Promise<{ pooler: Pooler; real: boolean }> {
  if (pgBouncerVersion() === undefined)
    return { pooler: await DeafPooler.start({ host: '127.0.0.1', port }), real: false }
  const { username, password } = new URL(url)
  const bouncer = await PgBouncer.start({
    port,
    mode: 'transaction',
    users: [{ name: username, password }],
    // Fewer than the instances open: their statements take turns.
    settings: { default_pool_size: 8 },
  })
  return { pooler: { urlFor: (to) => bouncer.urlFor(to), close: () => bouncer.stop() }, real: true }
}

export const scenario: Scenario = {
  name: 'pooler',
  promise:
    'Postgres behind a transaction pooler that is not declared: start is refused and names what to set, with which all is well',
  quick: false,
  // Everything but LISTEN goes through the pooler.
  async prepare(server, database) {
    const { pooler } = await startPooler(server.port, database.url)
    return {
      environment: {
        DATABASE_URL: pooler.urlFor(database.url),
        LISTEN_DATABASE_URL: database.url,
        DATABASE_POOLER: 'transaction',
      },
      close: () => pooler.close(),
    }
  },
  planted: { bug: believesListen, foundIn: 'unkept' },
  async run(bench) {
    const { pooler, real } = await startPooler(bench.postgres.port, bench.database.url)
    // One that gives each client a server process of its own is found only by what it does not deliver.
    const deaf = await DeafPooler.start({ host: '127.0.0.1', port: bench.postgres.port })
    try {
      for (const through of real ? [pooler, deaf] : [deaf])
        for (const environment of [
          { DATABASE_URL: through.urlFor(bench.database.url) },
          { DATABASE_URL: bench.database.url, LISTEN_DATABASE_URL: through.urlFor(bench.database.url) },
        ]) {
          const { code, lines, ms } = await startAlone(bench.main, environment)
          bench.must(code === 1, `a start through the pooler exits with 1, not ${code}`)
          bench.must(ms < START_LIMIT_MS, `a start through the pooler is refused in time, not in ${ms} ms`)
          bench.must(lines.length === 1, `the refusal is one line, not ${lines.length}`)
          bench.must(lines[0]?.includes('LISTEN_DATABASE_URL') === true, `the refusal names it: ${lines[0]}`)
        }
      bench.must(deaf.swallowed > 0, 'the pooler swallowed the canaries')
    } finally {
      await pooler.close()
      await deaf.close()
    }
    await sleep(bench.brief ? 2000 : 10_000)
    bench.must(bench.crowd.ends === 0, 'nobody loses a connection')
  },
}

interface Ended {
  /** Null: it had to be killed. */
  readonly code: number | null
  readonly lines: readonly string[]
  readonly ms: number
}

/** Starts an instance that is expected to end by itself. */
function startAlone(main: string, environment: Readonly<Record<string, string>>): Promise<Ended> {
  const startedAt = performance.now()
  const env = {
    PATH: process.env.PATH,
    HOME: process.env.HOME,
    JWT_SECRET: TEST_SECRET,
    LOG_LEVEL: 'error',
    PORT: '0',
    ...environment,
  }
  return new Promise((resolve) => {
    const options = { env, timeout: START_LIMIT_MS + 2000, killSignal: 'SIGKILL' } as const
    const child = execFile(process.execPath, [main], options, (_, stdout, stderr) => {
      const lines = `${stdout}${stderr}`.split('\n').filter((line) => line !== '')
      resolve({ code: child.exitCode, lines, ms: Math.round(performance.now() - startedAt) })
    })
  })
}
