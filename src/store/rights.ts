import type { Sql } from 'postgres'

/** Rights on things of the schema glimpse, as GRANT names them; of every table there is where `names` is 'all'. */
interface Grant {
  readonly rights: readonly ('select' | 'insert' | 'update' | 'delete' | 'execute')[]
  readonly on: 'table' | 'function' | 'procedure'
  readonly names: readonly string[] | 'all'
}

/**
 * What a role needs in the schema glimpse, by task: the one table of `glimpse grants`, of doctor and of docs/sql.md, whose
 * blocks the tests run under roles that have nothing else.
 */
export const TASKS = {
  write: {
    about: 'writes stories and views from SQL',
    grants: [{ rights: ['select', 'insert'], on: 'table', names: ['stories', 'story_views'] }],
  },
  react: {
    about: 'writes, changes and removes reactions from SQL',
    grants: [
      { rights: ['select'], on: 'table', names: ['stories'] },
      { rights: ['select', 'insert', 'update', 'delete'], on: 'table', names: ['story_reactions'] },
    ],
  },
  trigger: {
    about: 'owns trigger functions that call glimpse.enqueue or glimpse.append',
    grants: [
      { rights: ['select'], on: 'table', names: ['stories'] },
      {
        rights: ['execute'],
        on: 'function',
        names: ['enqueue(variadic glimpse.new_event[])', 'append(variadic glimpse.new_event[])'],
      },
    ],
  },
  mirror: {
    about: 'keeps glimpse.stories in step with a table of its own',
    grants: [{ rights: ['select', 'insert', 'update', 'delete'], on: 'table', names: ['stories'] }],
  },
  read: {
    about: 'reads stories, views and reactions for reports',
    grants: [{ rights: ['select'], on: 'table', names: ['stories', 'story_views', 'story_reactions'] }],
  },
  backend: {
    about: 'reads any user’s stream, and sees, disconnects and forgets users',
    grants: [
      {
        rights: ['execute'],
        on: 'function',
        names: [
          'page(text, text, integer)',
          'disconnect(text)',
          'online(text[])',
          'forget_portion(text, text[], integer, text, text[], bigint)',
        ],
      },
      { rights: ['execute'], on: 'procedure', names: ['forget(text, text[], integer, bigint)'] },
    ],
  },
  service: {
    about: 'is DATABASE_URL of instances with MIGRATE=off',
    grants: [
      { rights: ['select', 'insert', 'update', 'delete'], on: 'table', names: 'all' },
      { rights: ['execute'], on: 'function', names: ['move_queue(text[], integer)'] },
    ],
  },
} as const satisfies Record<string, { about: string; grants: readonly Grant[] }>

export type Task = keyof typeof TASKS

const grantsOf = (tasks: readonly Task[]) => tasks.flatMap((task): readonly Grant[] => TASKS[task].grants)

/** The statements that let a role do this, for the owner of the schema to run. */
export function grantsFor(role: string, tasks: readonly Task[]): string[] {
  const grantee = `"${role.replaceAll('"', '""')}"`
  const grants = grantsOf(tasks).map(({ rights, on, names }) => {
    const things =
      names === 'all'
        ? 'all tables in schema glimpse'
        : `${on} ${names.map((name) => `glimpse.${name}`).join(', ')}`
    return `${rights.join(', ')} on ${things}`
  })
  return [...new Set(['usage on schema glimpse', ...grants])].map((grant) => `grant ${grant} to ${grantee}`)
}

/**
 * What of this a role lacks, such as `insert on glimpse.story_views`. Of a thing that is not there yet nothing is said.
 *
 * @param role none: the session's own
 */
export async function missingRights(sql: Sql, tasks: readonly Task[], role?: string): Promise<string[]> {
  const wanted = grantsOf(tasks).flatMap(({ rights, on, names }) =>
    (names === 'all' ? [null] : names).flatMap((name) => rights.map((right) => ({ right, on, name }))),
  )
  const rows = await sql<{ missing: string }[]>`
    with role as (
      select oid from pg_roles where rolname = coalesce(${role ?? null}::text, current_user)
    ),
    wanted as (
      select * from json_to_recordset(${JSON.stringify(wanted)}::text::json) as w ("right" text, "on" text, name text)
    )
    select 'usage on schema glimpse' as missing from role
     where not has_schema_privilege(role.oid, to_regnamespace('glimpse')::oid, 'usage')
    union
    select w.right || ' on glimpse.' || t.relname from role, wanted w join pg_class t
        on t.relnamespace = to_regnamespace('glimpse') and t.relkind = 'r' and coalesce(w.name, t.relname) = t.relname
     where w.on = 'table' and not has_table_privilege(role.oid, t.oid, w.right)
       -- The service reads which migrations were applied, and no more.
       and (w.name is not null or t.relname <> 'migrations' or w.right = 'select')
    union
    select w.right || ' on ' || w.on || ' glimpse.' || w.name from role, wanted w join pg_proc p
        on p.pronamespace = to_regnamespace('glimpse') and p.proname = split_part(w.name, '(', 1)
     where w.on <> 'table' and not has_function_privilege(role.oid, p.oid, 'execute')
    order by missing`
  return rows.map(({ missing }) => missing)
}
