import { readFile } from 'node:fs/promises'
import postgres from 'postgres'
import { JWT_SECRET } from '../load/tokens.ts'
import { compiledPath, servicePath } from './build.ts'
import type { Cluster } from './postgres.ts'
import { type Server, startServer } from './server.ts'

/** A running contender. Those that keep their data in Postgres say where. */
export interface Contender {
  readonly name: string
  readonly server: Server
  readonly databaseUrl?: string
}

/**
 * Glimpse as it is deployed: the compiled service, production settings, a database of its own called `database`.
 * `profile`: a folder for its CPU profile.
 */
export async function startGlimpse(
  cluster: Cluster,
  profile: string | undefined,
  database = 'bench_glimpse',
): Promise<Contender> {
  const databaseUrl = await cluster.createDatabase(database)
  const server = await startServer({
    file: servicePath,
    env: {
      NODE_ENV: 'production',
      PORT: '0',
      DATABASE_URL: databaseUrl,
      JWT_SECRET,
      // The whole load comes from one address.
      RATE_LIMIT: 'off',
      LOG_LEVEL: 'info',
    },
    nodeOptions: profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`],
  })
  return { name: 'Glimpse', server, databaseUrl }
}

/** The app one would write first: a statement a request, a trigger a row, a NOTIFY a row. */
export async function startInsertPerRequest(cluster: Cluster): Promise<Contender> {
  const databaseUrl = await createPeerDatabase(cluster, 'bench_insert_per_request')
  const server = await startServer({
    file: compiledPath('peers/insert-per-request.ts'),
    env: { NODE_ENV: 'production', DATABASE_URL: databaseUrl, JWT_SECRET },
  })
  return { name: 'one INSERT per request', server, databaseUrl }
}

/** The tables and the trigger of the insert-per-request peer, without its server. */
export async function createPeerDatabase(cluster: Cluster, name: string): Promise<string> {
  const databaseUrl = await cluster.createDatabase(name)
  const sql = postgres(databaseUrl, { max: 1 })
  await sql.unsafe(await readFile(new URL('../peers/insert-per-request.sql', import.meta.url), 'utf8'))
  await sql.end()
  return databaseUrl
}

export async function startBare(): Promise<Contender> {
  const server = await startServer({
    file: compiledPath('peers/bare.ts'),
    env: { NODE_ENV: 'production', JWT_SECRET },
  })
  return { name: 'bare endpoint, no database', server }
}

/** One of the bare stream servers; `file` is below bench/peers. */
export async function startBareStream(name: string, file: string): Promise<Contender> {
  return { name, server: await startServer({ file: compiledPath(`peers/${file}`) }) }
}
