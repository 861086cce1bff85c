import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import { inject } from 'vitest'

export interface TestDatabase {
  readonly url: string
  drop(): Promise<void>
}

/** A migrated, empty database of its own, copied from the run's template in a few milliseconds. */
export async function createDatabase(): Promise<TestDatabase> {
  const name = `test_${randomUUID()}`
  await onServer((sql) => copyTemplate(sql, name))
  return {
    url: Object.assign(new URL(inject('serverUrl')), { pathname: `/${name}` }).href,
    drop: () => onServer(async (sql) => void (await sql`DROP DATABASE IF EXISTS ${sql(name)} WITH (FORCE)`)),
  }
}

async function copyTemplate(sql: postgres.Sql, name: string): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      await sql`CREATE DATABASE ${sql(name)} TEMPLATE ${sql(inject('template'))}`
      return
    } catch (error) {
      // 55006: an autovacuum worker stands in the template for a moment.
      if ((error as { code?: string }).code !== '55006' || attempt === 50) throw error
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
