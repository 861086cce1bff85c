import type postgres from 'postgres'
import type { Config } from '../../config.ts'
import { migrationNames } from '../../store/migrations.ts'
import { grantsFor, missingRights, type Task } from '../../store/rights.ts'
import { type Finding, ok, problem, skipped } from './finding.ts'
import type { Survey } from './server.ts'

interface State {
  readonly may_create: boolean
  readonly may_use: boolean
  readonly has_table: boolean
}

const SERVICE: readonly Task[] = ['service']

/** Migrations, rights and triggers. */
export async function checkSchema(sql: postgres.Sql, survey: Survey, config: Config): Promise<Finding[]> {
  const { role, database } = survey
  const [state] = await sql<State[]>`
    select has_database_privilege(current_database(), 'create') as may_create,
           coalesce(has_schema_privilege(to_regnamespace('glimpse')::oid, 'usage'), true) as may_use,
           exists (select from pg_tables where schemaname = 'glimpse' and tablename = 'migrations') as has_table`
  if (state === undefined) throw new Error('no answer')
  const findings: Finding[] = []
  if (config.migrate && !state.may_create)
    findings.push(
      problem(
        'rights',
        `${role} may not create in ${database}, but MIGRATE is on`,
        `grant create on database "${database}" to "${role}"; or run glimpse migrate as its owner and set MIGRATE=off`,
      ),
    )
  const rights = state.has_table ? await missingRights(sql, SERVICE) : []
  findings.push(...rightsFinding(role, SERVICE, rights))
  if (!state.may_use) return findings
  const migrations = await checkMigrations(sql, state.has_table && rights.length === 0, config)
  findings.push(...migrations.findings)
  if (migrations.complete && rights.length === 0) findings.push(...(await rehearse(sql)))
  else findings.push(skipped('triggers', 'the schema is not ready to write to'))
  return findings
}

/** What of the tasks another role lacks. */
export async function checkRole(sql: postgres.Sql, role: string, tasks: readonly Task[]): Promise<Finding[]> {
  const [known] = await sql`select from pg_roles where rolname = ${role}`
  if (known === undefined)
    return [problem('rights', `there is no role ${role}`, 'create it, or name another one')]
  return rightsFinding(role, tasks, await missingRights(sql, tasks, role))
}

function rightsFinding(role: string, tasks: readonly Task[], missing: readonly string[]): Finding[] {
  if (missing.length === 0) return [ok('rights', `${role} has all it needs`)]
  const fix = `as the owner: ${grantsFor(role, tasks).join('; ')}`
  return [problem('rights', `${role} lacks ${missing.join(', ')}`, fix)]
}

async function checkMigrations(
  sql: postgres.Sql,
  readable: boolean,
  config: Config,
): Promise<{ complete: boolean; findings: Finding[] }> {
  const applied = readable
    ? (await sql<{ name: string }[]>`select name from glimpse.migrations order by id`).map(({ name }) => name)
    : []
  const known = await migrationNames()
  const pending = known.filter((name) => !applied.includes(name))
  const unknown = applied.filter((name) => !known.includes(name))
  if (unknown.length > 0)
    return {
      complete: pending.length === 0,
      findings: [
        problem(
          'migrations',
          `the database is ahead of this version: ${unknown.join(', ')}`,
          'run the version that applied them, or a newer one; this one cannot take them back',
        ),
      ],
    }
  if (pending.length === 0)
    return { complete: true, findings: [ok('migrations', `all ${known.length} are applied`)] }
  const says = `${pending.length} of ${known.length} are not applied yet: ${pending.join(', ')}`
  return {
    complete: false,
    findings: [
      config.migrate
        ? ok('migrations', `${says}; the next start applies them`)
        : problem('migrations', says, 'run glimpse migrate, or set MIGRATE=on'),
    ],
  }
}

class Rehearsed extends Error {}

/**
 * A test view, in a transaction that is rolled back, must create an event, by the same triggers as every write. Nothing of it
 * stays, and nobody is notified.
 */
async function rehearse(sql: postgres.Sql): Promise<Finding[]> {
  let events = 0
  const author = `glimpse doctor ${process.pid}`
  try {
    await sql.begin(async (transaction) => {
      await transaction`select set_config('lock_timeout', '2s', true)`
      await transaction`
        with story as (insert into glimpse.stories (author_id) values (${author}) returning id)
        select id from story`
      await transaction`
        insert into glimpse.story_views (story_id, viewer_id)
        select id, 'glimpse doctor' from glimpse.stories where author_id = ${author}`
      const [row] = await transaction<{ events: number }[]>`
        select count(*)::int as events from glimpse.events where user_id = ${author}`
      events = row?.events ?? 0
      throw new Rehearsed()
    })
  } catch (error) {
    if (!(error instanceof Rehearsed)) {
      const { message } = error as Error
      return [
        problem(
          'triggers',
          `a test view (rolled back) failed: ${message}`,
          'fix what the database names there',
        ),
      ]
    }
  }
  if (events === 1) return [ok('triggers', 'a test view (rolled back) created its event')]
  const asleep = await sql<{ cure: string }[]>`
    select format('alter table %s enable trigger %I', tgrelid::regclass, tgname) as cure
      from pg_trigger t join pg_class c on c.oid = t.tgrelid
     where c.relnamespace = 'glimpse'::regnamespace and not t.tgisinternal and t.tgenabled not in ('O', 'A')`
  const fix =
    asleep.map(({ cure }) => cure).join('; ') || 'reset session_replication_role for this role and database'
  return [
    problem(
      'triggers',
      'a test view (rolled back) created no event: the triggers are missing or switched off',
      fix,
    ),
  ]
}
