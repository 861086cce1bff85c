import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import { inject } from 'vitest'

export interface TestDatabase {
  readonly url: string
  drop(): Promise<void>
}

/** A migrated, empty database of its own, copied from the run's template in a few milliseconds. */
export function createDatabase(): Promise<TestDatabase> {
  return copyOf(inject('template'))
}

/** A database that was never migrated. */
export function createEmptyDatabase(): Promise<TestDatabase> {
  return copyOf('template0')
}

async function copyOf(template: string): Promise<TestDatabase> {
  const name = `test_${randomUUID()}`
  await onServer((sql) => undisturbed(() => sql`CREATE DATABASE ${sql(name)} TEMPLATE ${sql(template)}`))
  return {
    url: Object.assign(new URL(inject('serverUrl')), { pathname: `/${name}` }).href,
    drop: () => onServer((sql) => undisturbed(() => sql`DROP DATABASE IF EXISTS ${sql(name)} WITH (FORCE)`)),
  }
}

/** An autovacuum worker that stands in a database for a moment can neither be copied with it nor ended by our role. */
const DISTURBED: ReadonlySet<string | undefined> = new Set(['55006', '42501'])

async function undisturbed(statement: () => PromiseLike<unknown>): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      await statement()
      return
    } catch (error) {
      if (!DISTURBED.has((error as { code?: string }).code) || attempt === 100) throw error
      await sleep(50)
    }
  }
}

async function onServer(work: (sql: postgres.Sql) => Promise<void>): Promise<void> {
  const sql = postgres(inject('serverUrl'), { max: 1, onnotice: () => {} })
  try {
    await work(sql)
  } finally {
    await sql.end()
  }
}
