import { readFile } from 'node:fs/promises'
import postgres from 'postgres'
import { JWT_SECRET } from '../load/tokens.ts'
import { compiledPath, servicePath } from './build.ts'
import { Absent } from './installed.ts'
import type { Cluster } from './postgres.ts'
import { type Server, startServer } from './server.ts'

/** A running contender. Those that keep their data in Postgres say where. */
export interface Contender {
  readonly name: string
  readonly server: Server
  readonly databaseUrl?: string
}

/** One that could not be started is told in the report; the others run without it. */
export interface Started<C> {
  readonly contenders: C[]
  readonly absent: string[]
}

/** Starts one after the other, and goes on where one fails. */
export async function startEach<C>(starts: Readonly<Record<string, () => Promise<C>>>): Promise<Started<C>> {
  const contenders: C[] = []
  const absent: string[] = []
  for (const [name, start] of Object.entries(starts)) {
    try {
      contenders.push(await start())
    } catch (error) {
      const { message } = error as Error
      absent.push(
        error instanceof Absent ? `${name}: ${message}` : `${name} could not be started: ${message}`,
      )
    }
  }
  return { contenders, absent }
}

export async function stopAll(started: readonly { readonly server: Server }[]): Promise<void> {
  await Promise.all(started.map(({ server }) => server.stop()))
}

/**
 * Glimpse as it is deployed: the compiled service, production settings, a database of its own called `database`.
 * `profile`: a folder for its CPU profile.
 */
export async function startGlimpse(
  cluster: Cluster,
  profile: string | undefined,
  database = 'bench_glimpse',
): Promise<Contender & { readonly databaseUrl: string }> {
  const databaseUrl = await cluster.createDatabase(database)
  return { name: 'Glimpse', server: await startInstance(databaseUrl, profile), databaseUrl }
}

/** One more instance on a database. */
export function startInstance(databaseUrl: string, profile: string | undefined): Promise<Server> {
  return startServer({
    file: servicePath,
    env: {
      NODE_ENV: 'production',
      PORT: '0',
      DATABASE_URL: databaseUrl,
      JWT_SECRET,
      LOG_LEVEL: 'info',
      // All the load comes from one address, and more of it than the limits allow one.
      RATE_LIMIT: 'off',
    },
    nodeOptions: profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`],
  })
}

/** The app one would write first: a statement a request, a trigger a row, a NOTIFY a row. */
export async function startInsertPerRequest(
  cluster: Cluster,
  name: string,
  source: string,
): Promise<Contender> {
  const databaseUrl = await createPeerDatabase(cluster, `bench_${source.replaceAll('-', '_')}`)
  const server = await startServer({
    file: compiledPath(`peers/${source}.ts`),
    env: { NODE_ENV: 'production', DATABASE_URL: databaseUrl, JWT_SECRET },
  })
  return { name, server, databaseUrl }
}

/** The tables and the trigger of the insert-per-request peer, without its server. */
export async function createPeerDatabase(cluster: Cluster, name: string): Promise<string> {
  const databaseUrl = await cluster.createDatabase(name)
  const sql = postgres(databaseUrl, { max: 1 })
  await sql.unsafe(await readFile(new URL('../peers/insert-per-request.sql', import.meta.url), 'utf8'))
  await sql.end()
  return databaseUrl
}

/** A peer that needs nothing but its file below bench/peers. */
export async function startPeer(
  name: string,
  source: string,
  env: Readonly<Record<string, string>> = {},
): Promise<Contender> {
  const server = await startServer({
    file: compiledPath(`peers/${source}.ts`),
    env: { NODE_ENV: 'production', ...env },
  })
  return { name, server }
}
