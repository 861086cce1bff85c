import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import postgres from 'postgres'
import { startEmbeddedPostgres } from '../../src/embedded/index.ts'
import { createLogger } from '../../src/observability/log.ts'
import { familyCpuMs, parentOf } from './usage.ts'

/** One Postgres for all contenders of a run, a database for each. */
export interface Cluster {
  /** Version and the settings that decide what a commit costs, for the report. */
  readonly settings: Readonly<Record<string, string>>
  /** A new empty database; its URL. One of the same name from an earlier run is replaced. */
  createDatabase(name: string): Promise<string>
  /** CPU of the server and all its backends; undefined where it does not run on this machine. */
  cpuMs(): number | undefined
  /** WAL written so far, by all databases. */
  walBytes(): Promise<number>
  stop(): Promise<void>
}

const SETTINGS = [
  'server_version',
  'fsync',
  'synchronous_commit',
  'full_page_writes',
  'wal_level',
  'wal_sync_method',
  'shared_buffers',
  'max_wal_size',
]

/** Starts the embedded Postgres in a folder of its own, or uses the server of BENCH_DATABASE_URL (whose role may CREATE DATABASE). */
export async function startCluster(): Promise<Cluster> {
  const given = process.env.BENCH_DATABASE_URL
  if (given !== undefined) return connectCluster(given, async () => {})
  const dataDir = await mkdtemp(join(tmpdir(), 'glimpse-bench-'))
  const embedded = await startEmbeddedPostgres({ dataDir, log: createLogger('error') })
  return connectCluster(embedded.url, async () => {
    await embedded.release()
    await rm(dataDir, { recursive: true, force: true })
  })
}

async function connectCluster(url: string, release: () => Promise<void>): Promise<Cluster> {
  const sql = postgres(url, { max: 1, onnotice: () => {} })
  const [backend] = await sql<[{ pid: number }]>`SELECT pg_backend_pid() AS pid`
  const postmaster = parentOf(backend.pid, 'postgres')
  const rows = await sql<{ name: string; value: string }[]>`
    SELECT name, current_setting(name) AS value FROM pg_settings WHERE name IN ${sql(SETTINGS)}`
  let stopped: Promise<void> | undefined
  return {
    settings: Object.fromEntries(rows.map(({ name, value }) => [name, value])),
    createDatabase: async (name) => {
      await sql`DROP DATABASE IF EXISTS ${sql(name)} WITH (FORCE)`
      await sql`CREATE DATABASE ${sql(name)}`
      const own = new URL(url)
      own.pathname = `/${name}`
      return own.href
    },
    cpuMs: () => (postmaster === undefined ? undefined : familyCpuMs(postmaster)),
    walBytes: async () => {
      const [row] = await sql<[{ bytes: string }]>`SELECT pg_current_wal_lsn() - '0/0'::pg_lsn AS bytes`
      return Number(row.bytes)
    },
    // Ctrl-C and the failing part it causes both stop it: the second waits for the first.
    stop: () => {
      stopped ??= sql.end().then(release)
      return stopped
    },
  }
}
