import postgres from 'postgres'
import { TcpProxy } from '../../support/tcp-proxy.ts'
import { Instance } from './instance.ts'
import type { Database, PostgresServer } from './postgres-server.ts'
import type { Setup, Staging } from './setup.ts'

/** What stands before anybody writes or listens: a database, instances that are ready, a story for each author. */
export interface Stage {
  readonly database: Database
  /** A superuser in the database. */
  readonly sql: postgres.Sql
  readonly listenProxy: TcpProxy | undefined
  readonly instances: readonly Instance[]
  /** By author. */
  readonly stories: ReadonlyMap<string, string>
  close(): Promise<void>
}

export interface StageOptions {
  readonly scenario: Staging
  readonly setup: Setup
  readonly main: string
  readonly server: PostgresServer
}

/** Sets everything up; what was begun is undone where a step fails. */
export async function openStage(options: StageOptions): Promise<Stage> {
  const undo: (() => unknown)[] = []
  const close = async () => {
    for (let step = undo.pop(); step !== undefined; step = undo.pop()) await step()
  }
  try {
    return { ...(await open(options, undo)), close }
  } catch (error) {
    await close()
    throw error
  }
}

async function open(
  { scenario, setup, main, server }: StageOptions,
  undo: (() => unknown)[],
): Promise<Omit<Stage, 'close'>> {
  const database = await server.createDatabase()
  undo.push(() => server.dropDatabase(database))
  const listenProxy = setup.listenProxy
    ? await TcpProxy.start({ host: '127.0.0.1', port: server.port })
    : undefined
  undo.push(() => listenProxy?.close())
  const prepared = await scenario.prepare?.(server, database)
  undo.push(() => prepared?.close())

  const environment = {
    ...setup.environment,
    DATABASE_URL: database.url,
    ...(listenProxy === undefined ? {} : { LISTEN_DATABASE_URL: listenProxy.urlFor(database.url) }),
    ...prepared?.environment,
  }
  const instances = await Promise.all(
    Array.from({ length: setup.instances }, () => Instance.create(main, environment)),
  )
  undo.push(() => Promise.all(instances.map((instance) => instance.close())))
  await Promise.all(instances.map((instance) => instance.start()))

  const sql = postgres(database.adminUrl, { max: 2, onnotice: () => {}, backoff: () => 0.1 })
  undo.push(() => sql.end({ timeout: 1 }))
  return { database, sql, listenProxy, instances, stories: await insertStories(sql, setup.authors) }
}

async function insertStories(sql: postgres.Sql, authors: number): Promise<Map<string, string>> {
  const rows = await sql<{ id: string; author_id: string }[]>`
    insert into glimpse.stories (author_id) select 'author-' || n from generate_series(1, ${authors}) n
    returning id, author_id`
  return new Map(rows.map(({ id, author_id }) => [author_id, id]))
}
