import { join } from 'node:path'
import { fetchPackage } from './cache.ts'
import { startPostgres } from './postgres.ts'

/** What of the world outside is put beside the service, and which tests it has to stand. */
export interface Thing {
  readonly name: string
  /** Folders or files of test/. */
  readonly suites: readonly string[]
  /** With `--all`, instead. */
  readonly allSuites: readonly string[]
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

function nodeOf(major: number): Thing {
  return {
    name: `Node ${major}`,
    suites: NODE_SUITES,
    allSuites: ['test'],
    async prepare() {
      if (Number(process.versions.node.split('.')[0]) === major)
        throw new Missing(`this is ${process.version}: npm test is this row`)
      const platform = process.platform === 'win32' ? 'win' : process.platform
      const { folder, version } = await missing(() =>
        fetchPackage(`node-${platform}-${process.arch}@${major}`),
      )
      return { version, node: join(folder, 'bin', 'node') }
    },
  }
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
 * In the order of the table. Without `--all` the oldest Postgres takes all suites that speak to one, and those between
 * it and the one that npm test runs on what differs most between versions: statements, triggers and the protocol.
 */
export const THINGS: readonly Thing[] = [
  postgresOf(14, DATABASE_SUITES),
  postgresOf(15, ['test/contract', 'test/store', 'test/bus']),
  postgresOf(16, ['test/contract', 'test/store', 'test/bus']),
  postgresOf(17, ['test/contract', 'test/store', 'test/bus']),
  postgresOf(18, ['test/contract']),
  nodeOf(20),
  nodeOf(22),
  nodeOf(24),
  nodeOf(26),
]
