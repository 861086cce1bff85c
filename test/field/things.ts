import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { isInstalled, type ProxyKind } from '../deployment/proxy.ts'
import { findFirefox } from '../support/engines.ts'
import { SERVER_PATH } from '../support/listening-program.ts'
import { PgBouncer, type PoolMode, pgBouncerVersion } from '../support/pgbouncer.ts'
import { hasVersion01 } from '../support/version-01.ts'
import { hasWebKit, DRIVER as WEBKIT_DRIVER } from '../support/webkit.ts'
import { fetchPackage } from './cache.ts'
import { CURRENT, startPostgres } from './postgres.ts'
import { usesServer } from './server-tests.ts'

/** What of the world outside is put beside the service, and which tests it has to stand. */
export interface Thing {
  readonly name: string
  /** Folders or files of test/; none: npm test runs beside it. */
  readonly suites: readonly string[]
  /** Without `--all` only those of the files. */
  readonly takes?: (file: string) => boolean
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

const DATABASE_SUITES = ['test/contract', 'test/store', 'test/bus', 'test/delivery']
/** Of test/delivery what a version of Postgres can break; the others are about processes, pipes and networks. */
const DATABASE_DELIVERY = [
  ...['concurrent-writers', 'database-faults', 'instances', 'lanes', 'listen-loss', 'notify-limits'],
  ...['presence', 'restart', 'short-of-postgres'],
].map((name) => `test/delivery/${name}.test.ts`)
/** The contract where it depends most on what is beneath: numbering, pages, cursors and both streams. */
const CORE_SUITES = ['events', 'resume', 'read', 'poll', 'sse', 'websocket'].map(
  (name) => `test/contract/${name}.test.ts`,
)
const PROXY_SUITES = ['test/field/proxies.test.ts']
const BROWSER_SUITES = ['tabs', 'examples', 'other-clients'].map((name) => `test/field/${name}.test.ts`)
/** `npm test` runs it in Chromium. */
const PUT_AWAY_SUITE = 'test/browser/put-away.test.ts'
const NODE_SUITES = ['test/contract', 'test/bus', 'test/hub', 'test/postgres']
/** About the settings and rights of a server, whatever runs the service. */
const SERVER_SETTINGS = 'test/postgres/managed.test.ts'

function postgresOf(major: number, suites: readonly string[]): Thing {
  return {
    name: `Postgres ${major}`,
    suites,
    takes: usesServer,
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
  version: () => string | undefined | Promise<string | undefined>,
  suites: readonly string[],
  { pattern, environment = {} }: { pattern?: string; environment?: Prepared['environment'] } = {},
): Thing {
  return {
    name,
    ...(pattern === undefined ? {} : { pattern }),
    suites,
    allSuites: suites,
    async prepare() {
      const found = await version()
      if (found === undefined) throw new Missing('it is not installed')
      return { version: found, environment }
    },
  }
}

function proxy(kind: ProxyKind, name: string): Thing {
  const version = () =>
    isInstalled(kind) ? versionOf(kind, [kind === 'caddy' ? 'version' : '-v']) : undefined
  return program(name, version, PROXY_SUITES, { pattern: `through ${kind}` })
}

/** Tabs, example applications and other people's clients, each of which takes seconds of real time, in an engine. */
function browser(
  name: string,
  version: () => string | undefined | Promise<string | undefined>,
  suites: readonly string[] = [...BROWSER_SUITES, PUT_AWAY_SUITE],
): Thing {
  return program(name, version, suites, { environment: { GLIMPSE_FIELD_ENGINE: name } })
}

async function firefoxVersion(): Promise<string | undefined> {
  const path = await findFirefox()
  return path === undefined ? undefined : versionOf(path, ['--version'])
}

function webKitVersion(): string | undefined {
  return hasWebKit() ? (versionOf(WEBKIT_DRIVER, ['--version']) ?? 'installed') : undefined
}

/** The version before this one, built from the history. */
function glimpse01(): Thing {
  const suites = ['test/field/upgrade.test.ts']
  return {
    name: 'Glimpse 0.1',
    suites,
    allSuites: suites,
    async prepare() {
      if (!hasVersion01()) throw new Missing('this checkout has no history to build it from')
      return { version: '0.1.0' }
    },
  }
}

function versionOf(command: string, args: readonly string[]): string | undefined {
  const { status, stdout, stderr } = spawnSync(command, args, {
    env: { PATH: SERVER_PATH },
    encoding: 'utf8',
  })
  return status === 0 ? /\d+\.\d+[.\w-]*/.exec(`${stdout}${stderr}`)?.[0] : undefined
}

function nodeOf(major: number, suites: readonly string[] = NODE_SUITES): Thing {
  return {
    name: `Node ${major}`,
    suites,
    takes: (file) => file !== SERVER_SETTINGS,
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

/** What npm or the machine has today of what people build and follow streams with. */
function ofNpm(name: string, suite: string): Thing {
  return { name, suites: [suite], allSuites: [suite], prepare: async () => ({ version: 'npm' }) }
}

/**
 * The pages about somebody's own database, followed as the roles that they name, beside live writers whose statements,
 * lost and unwanted events are counted; some of it on 240,000 views here.
 */
const PAGES_SUITES = ['roles', 'backends', 'from-the-go-service', 'follow-everything'].map(
  (page) => `test/docs-${page}.test.ts`,
)
const besideADatabase: Thing = {
  name: 'beside a database',
  suites: PAGES_SUITES,
  allSuites: PAGES_SUITES,
  prepare: async () => ({ version: String(CURRENT) }),
}

/** The quick half of the prover's scenarios, and each kind of planted bug, which it has to find. */
const PROVER_SUITES = ['test/faults/quick.test.ts', 'test/field/planted-bugs.test.ts']
const prover: Thing = {
  name: 'the prover',
  suites: PROVER_SUITES,
  allSuites: PROVER_SUITES,
  prepare: async () => ({ version: String(CURRENT) }),
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
 * In the order of the table. Without `--all` the oldest Postgres takes all that speaks to one, since it lacks the most, and
 * the newest Node the suites that depend on it; what lies between takes the core, because .ci/run has minutes for
 * everything.
 */
export const THINGS: readonly Thing[] = [
  postgresOf(14, [...DATABASE_SUITES.filter((suite) => suite !== 'test/delivery'), ...DATABASE_DELIVERY]),
  postgresOf(15, CORE_SUITES),
  postgresOf(16, CORE_SUITES),
  postgresOf(17, CORE_SUITES),
  postgresOf(CURRENT, []),
  pgBouncer('transaction', ['test/contract']),
  pgBouncer('session', CORE_SUITES),
  program('PgBouncer, under load', pgBouncerVersion, ['test/field/pooler.test.ts']),
  program('pg_dump', () => versionOf('pg_dump', ['--version']), ['test/field/dumps.test.ts']),
  program('private CA', () => versionOf('openssl', ['version']), ['test/field/private-ca.test.ts']),
  proxy('haproxy', 'HAProxy'),
  proxy('nginx', 'nginx'),
  proxy('caddy', 'Caddy'),
  nodeOf(20),
  nodeOf(22, CORE_SUITES),
  nodeOf(24, CORE_SUITES),
  nodeOf(26),
  browser('Chromium', async () => 'npm', BROWSER_SUITES),
  browser('Firefox', firefoxVersion),
  browser('WebKit', webKitVersion),
  program('other languages', () => versionOf('curl', ['--version']), ['test/field/other-languages.test.ts']),
  glimpse01(),
  ofNpm('client package', 'test/field/client-package.test.ts'),
  ofNpm('client for a new user', 'test/field/new-user.test.ts'),
  ofNpm('image', 'test/field/image.test.ts'),
  besideADatabase,
  ofNpm('generated clients', 'test/field/generated-clients.test.ts'),
  prover,
]
