import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { PgBouncer, type PoolMode, pgBouncerVersion } from '../support/pgbouncer.ts'
import { fetchPackage } from './cache.ts'
import { startPostgres } from './postgres.ts'

/** What of the world outside is put beside the service, and which tests it has to stand. */
export interface Thing {
  readonly name: string
  /** Folders or files of test/; none: npm test runs beside it. */
  readonly suites: readonly string[]
  /** With `--all`, instead. */
  readonly allSuites: readonly string[]
  /** Only the tests whose names match. */
  readonly pattern?: string
  /** Starts it. Throws Missing where this machine can't have it. */
  prepare(): Promise<Prepared>
}

export interface Prepared {
  readonly version: string
  readonly environment?: Readonly<Record<string, string>>
  readonly node?: string
  close?(): Promise<void>
}

/** This machine can't have the thing: it is skipped, with these words. */
export class Missing extends Error {
  override readonly name = 'Missing'
}

/** The major version of Postgres that the service brings, and that npm test runs on. */
const CURRENT = 18

const DATABASE_SUITES = ['test/contract', 'test/store', 'test/bus', 'test/delivery']
/** The contract where it depends most on what is beneath: numbering, pages, cursors and both streams. */
const CORE_SUITES = ['events', 'resume', 'read', 'poll', 'sse', 'websocket'].map(
  (name) => `test/contract/${name}.test.ts`,
)
const PROXY_SUITES = ['test/deployment/proxies.test.ts']
const NODE_SUITES = ['test/contract', 'test/bus', 'test/hub', 'test/postgres']

function postgresOf(major: number, suites: readonly string[]): Thing {
  return {
    name: `Postgres ${major}`,
    suites,
    allSuites: DATABASE_SUITES,
    async prepare() {
      const server = await missing(() => startPostgres(major))
      return {
        version: server.version,
        environment: { TEST_DATABASE_URL: server.url },
        close: () => server.stop(),
      }
    },
  }
}

/** Real PgBouncer between the instances and Postgres; LISTEN goes the direct way where the mode needs it. */
function pgBouncer(mode: PoolMode, suites: readonly string[]): Thing {
  return {
    name: `PgBouncer, ${mode} mode`,
    suites,
    allSuites: ['test/contract', 'test/http', 'test/client'],
    async prepare() {
      const version = pgBouncerVersion()
      if (version === undefined) throw new Missing('pgbouncer is not installed')
      const server = await startPostgres(CURRENT)
      const { role, port } = server
      const settings = { default_pool_size: 40 }
      const pooler = await PgBouncer.start({ port, mode, users: [role], settings }).catch(async (error) => {
        await server.stop()
        throw error
      })
      const way = (at: number) => `postgres://${role.name}:${role.password}@127.0.0.1:${at}/{database}`
      return {
        version,
        environment: {
          TEST_DATABASE_URL: server.url,
          GLIMPSE_FIELD_WAY: JSON.stringify({
            DATABASE_URL: way(pooler.port),
            ...(mode === 'transaction' ? { LISTEN_DATABASE_URL: way(port), DATABASE_POOLER: mode } : {}),
          }),
        },
        async close() {
          await pooler.stop()
          await server.stop()
        },
      }
    },
  }
}

/** A program of the machine that the tests themselves start. */
function program(
  name: string,
  version: () => string | undefined,
  suites: readonly string[],
  pattern?: string,
): Thing {
  return {
    name,
    ...(pattern === undefined ? {} : { pattern }),
    suites,
    allSuites: suites,
    async prepare() {
      const found = version()
      if (found === undefined) throw new Missing('it is not installed')
      return { version: found }
    },
  }
}

// Distributions put them into sbin, which is not in everybody's path.
const PATH = `${process.env.PATH}:/usr/sbin:/usr/local/sbin`

function versionOf(command: string, args: readonly string[]): string | undefined {
  const { status, stdout, stderr } = spawnSync(command, args, { env: { PATH }, encoding: 'utf8' })
  return status === 0 ? /\d+\.\d+[.\w-]*/.exec(`${stdout}${stderr}`)?.[0] : undefined
}

function nodeOf(major: number, suites: readonly string[] = NODE_SUITES): Thing {
  return {
    name: `Node ${major}`,
    suites,
    allSuites: ['test'],
    async prepare() {
      if (Number(process.versions.node.split('.')[0]) === major)
        throw new Missing(`this is ${process.version}: npm test runs on it`)
      const platform = process.platform === 'win32' ? 'win' : process.platform
      const { folder, version } = await missing(() =>
        fetchPackage(`node-${platform}-${process.arch}@${major}`),
      )
      return { version, node: join(folder, 'bin', 'node') }
    },
  }
}

/** The packed client with what people bundle, test and run it with, as npm has it today. */
const clientPackage: Thing = {
  name: 'client package',
  suites: ['test/field/client-package.test.ts'],
  allSuites: ['test/field/client-package.test.ts'],
  prepare: async () => ({ version: 'npm' }),
}

/** What npm can't give is skipped; a server that does not start is a failure. */
async function missing<Result>(work: () => Promise<Result>): Promise<Result> {
  try {
    return await work()
  } catch (error) {
    if ((error as Error).message.startsWith('npm has no ')) throw new Missing((error as Error).message)
    throw error
  }
}

/**
 * In the order of the table. Without `--all` the oldest Postgres takes all suites that speak to one, since it lacks the
 * most; versions between the oldest and the newest take fewer, because .ci/run has half an hour for everything.
 */
export const THINGS: readonly Thing[] = [
  postgresOf(14, DATABASE_SUITES),
  postgresOf(15, CORE_SUITES),
  postgresOf(16, CORE_SUITES),
  postgresOf(17, ['test/contract', 'test/store', 'test/bus']),
  postgresOf(CURRENT, []),
  pgBouncer('transaction', ['test/contract']),
  pgBouncer('session', ['test/contract']),
  program('PgBouncer, under load', pgBouncerVersion, ['test/field/pooler.test.ts']),
  program('private CA', () => versionOf('openssl', ['version']), ['test/field/private-ca.test.ts']),
  program('HAProxy', () => versionOf('haproxy', ['-v']), PROXY_SUITES, 'through haproxy'),
  program('nginx', () => versionOf('nginx', ['-v']), PROXY_SUITES, 'through nginx'),
  nodeOf(20),
  nodeOf(22, CORE_SUITES),
  nodeOf(24, CORE_SUITES),
  nodeOf(26),
  clientPackage,
]
