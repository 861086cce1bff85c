import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import postgres from 'postgres'
import { startEmbeddedPostgres } from '../../src/embedded/index.ts'
import { createLogger } from '../../src/observability/log.ts'
import { familyCpuMs, parentOf } from './usage.ts'

const SETTINGS = `server_version fsync synchronous_commit full_page_writes wal_level wal_sync_method
  shared_buffers max_wal_size`.split(/\s+/)

/** For 32 instances of Glimpse, each with up to 26, and the peers. */
const MAX_CONNECTIONS = '1000'

/** One Postgres for all contenders of a run, a database for each: the embedded one, in a folder of its own. */
export async function startCluster() {
  const dataDir = await mkdtemp(join(tmpdir(), 'glimpse-bench-'))
  const settings = { max_connections: MAX_CONNECTIONS }
  const embedded = await startEmbeddedPostgres({ dataDir, log: createLogger('error'), settings })
  const sql = postgres(embedded.url, { max: 1, onnotice: () => {} })
  const [backend] = await sql<[{ pid: number }]>`SELECT pg_backend_pid() AS pid`
  const postmaster = parentOf(backend.pid)
  const cpuMs = () => familyCpuMs(postmaster)
  const rows = await sql<{ name: string; value: string }[]>`
    SELECT name, current_setting(name) AS value FROM pg_settings WHERE name IN ${sql(SETTINGS)}`
  const stop = async () => {
    await sql.end()
    await embedded.release()
    await rm(dataDir, { recursive: true, force: true })
  }
  let stopped: Promise<void> | undefined
  return {
    /** Version and the settings that decide what a commit costs, for the report. */
    settings: Object.fromEntries(rows.map(({ name, value }) => [name, value])),
    /** A new empty database; its URL. One of the same name from an earlier run is replaced. */
    createDatabase: async (name: string): Promise<string> => {
      await sql`DROP DATABASE IF EXISTS ${sql(name)} WITH (FORCE)`
      await sql`CREATE DATABASE ${sql(name)}`
      return Object.assign(new URL(embedded.url), { pathname: `/${name}` }).href
    },
    /** CPU of the server and all its backends. */
    cpuMs,
    /** From now on: CPU of a contender's processes and, where it has a database, of Postgres, for each of so many. */
    cpuMeter: ({ pid, databaseUrl }: { readonly pid: number; readonly databaseUrl?: string | undefined }) => {
      const read = () => [familyCpuMs(pid), databaseUrl === undefined ? Number.NaN : cpuMs()] as const
      const [serverMs, postgresMs] = read()
      return (count: number) => {
        const [server, postgres] = read()
        const us = (ms: number) => (ms * 1000) / count
        return { serverUs: us(server - serverMs), postgresUs: us(postgres - postgresMs) }
      }
    },
    /** The server processes that LISTEN in a database. */
    listeners: async (databaseUrl: string): Promise<number[]> => {
      const listening = await sql<{ pid: number }[]>`
        SELECT pid FROM pg_stat_activity
        WHERE application_name = 'glimpse-listen' AND datname = ${new URL(databaseUrl).pathname.slice(1)}`
      return listening.map(({ pid }) => pid)
    },
    /** WAL written so far, by all databases. */
    walBytes: async (): Promise<number> => {
      const [row] = await sql<[{ bytes: string }]>`SELECT pg_current_wal_lsn() - '0/0'::pg_lsn AS bytes`
      return Number(row.bytes)
    },
    /** Ctrl-C and the failing part it causes both stop it: the second waits for the first. */
    stop: (): Promise<void> => {
      stopped ??= stop()
      return stopped
    },
  }
}

export type Cluster = Awaited<ReturnType<typeof startCluster>>

/** The tables and the trigger of the app one would write first, without its server. */
export async function createPeerDatabase(cluster: Cluster, name: string): Promise<string> {
  const databaseUrl = await cluster.createDatabase(name)
  const sql = postgres(databaseUrl, { max: 1 })
  await sql.unsafe(await readFile(new URL('../peers/insert-per-request.sql', import.meta.url), 'utf8'))
  await sql.end()
  return databaseUrl
}

/** A story for each author; their ids in the same order. */
export async function createStories(databaseUrl: string, table: string, authors: readonly string[]) {
  const sql = postgres(databaseUrl, { max: 1 })
  const rows = await sql<{ id: string }[]>`
    INSERT INTO ${sql(table)} (author_id) SELECT * FROM unnest(${[...authors]}::text[]) RETURNING id`
  await sql.end()
  return rows.map(({ id }) => id)
}
