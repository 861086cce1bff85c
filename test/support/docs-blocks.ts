import { readFile } from 'node:fs/promises'
import postgres from 'postgres'
import { expect } from 'vitest'
import { createLogger } from '../../src/observability/log.ts'
import { parseConnectionUrl } from '../../src/postgres/connection-url.ts'
import { migrate } from '../../src/store/migrate.ts'
import { PostgresServer } from '../faults/prover/postgres-server.ts'

export interface Block {
  readonly role: string
  readonly sql: string
}

/** The blocks of SQL in a page of docs/, in order, each with the role that its first line names; `sql no-run` is for eyes. */
export async function blocksOf(page: string): Promise<Block[]> {
  const text = await readFile(`docs/${page}`, 'utf8')
  const blocks = [...text.matchAll(/^```sql\n(-- run as (?:a )?(\w+)[\s\S]*?)^```$/gm)].map(
    ([, sql = '', role = '']) => ({ role, sql }),
  )
  // A block without a role would be one that nobody runs.
  expect(text.match(/^```sql$/gm)).toHaveLength(blocks.length)
  return blocks
}

/** Of every role. */
export const PASSWORD = 'x'

interface Server {
  /** As a superuser. */
  readonly adminUrl: string
  close(): Promise<void>
}

async function ownServer(): Promise<Server> {
  const server = await PostgresServer.create({ fsync: 'off' })
  const { adminUrl } = await server.createDatabase()
  return { adminUrl, close: () => server.close() }
}

/** A database as somebody has it who knows what roles are for: none owns what another one uses. */
export class RolesWorld {
  readonly #server: Server
  readonly #admin: string

  private constructor(server: Server, admin: string) {
    this.#server = server
    this.#admin = admin
  }

  /** On a server of its own, because roles are the cluster's. The superuser is `superuser`. */
  static async create(database: string, roles: readonly string[], on?: Server): Promise<RolesWorld> {
    const server = on ?? (await ownServer())
    const first = postgres(server.adminUrl, { max: 1 })
    await first.unsafe(`create role superuser superuser login password '${PASSWORD}'`)
    await first.end()
    const world = new RolesWorld(server, server.adminUrl).in(database)
    await world.in('postgres').as('superuser', async (admin) => {
      // Its own superuser has the name that the pages give to an ordinary role.
      await admin.unsafe(`alter role ${new URL(server.adminUrl).username} rename to cluster_owner`)
      await admin.unsafe(`create database ${database}`)
      for (const role of roles) await admin.unsafe(`create role ${role} login password '${PASSWORD}'`)
    })
    return world
  }

  /** The same roles in another database. */
  in(database: string): RolesWorld {
    return new RolesWorld(this.#server, Object.assign(new URL(this.#admin), { pathname: database }).href)
  }

  url(role: string): string {
    return Object.assign(new URL(this.#admin), { username: role, password: PASSWORD }).href
  }

  async as<Result>(role: string, work: (sql: postgres.Sql) => Promise<Result>): Promise<Result> {
    const sql = postgres(this.url(role), { max: 1, onnotice: () => {} })
    try {
      return await work(sql)
    } finally {
      await sql.end()
    }
  }

  /** A block as psql would run it. */
  run({ role, sql }: Block): Promise<readonly postgres.Row[]> {
    return this.as(role, (session) => session.unsafe(sql))
  }

  /** What the pages leave to the reader: passwords. */
  async letIn(...roles: string[]): Promise<void> {
    for (const role of roles)
      await this.as('superuser', (sql) => sql.unsafe(`alter role ${role} password '${PASSWORD}'`))
  }

  /** What the role `glimpse` does by `glimpse migrate`. */
  async migrate(): Promise<void> {
    await migrate(parseConnectionUrl(this.url('glimpse')), createLogger('silent'))
  }

  close(): Promise<void> {
    return this.#server.close()
  }
}
