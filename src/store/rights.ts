/**
 * What a role needs in the schema glimpse, by task: the one table of `glimpse grants`, of doctor and of docs/sql.md, whose
 * blocks the tests run under roles that have nothing else.
 */
export const TASKS = {
  write: {
    about: 'writes stories and views from SQL',
    grants: ['select, insert on table glimpse.stories, glimpse.story_views'],
  },
  react: {
    about: 'writes, changes and removes reactions from SQL',
    grants: [
      'select on table glimpse.stories',
      'select, insert, update, delete on table glimpse.story_reactions',
    ],
  },
  trigger: {
    about: 'owns trigger functions that call glimpse.enqueue or glimpse.append',
    grants: [
      'select on table glimpse.stories',
      'execute on function glimpse.enqueue(variadic glimpse.new_event[]), glimpse.append(variadic glimpse.new_event[])',
    ],
  },
  mirror: {
    about: 'keeps glimpse.stories in step with a table of its own',
    grants: ['select, insert, update, delete on table glimpse.stories'],
  },
  read: {
    about: 'reads stories, views and reactions for reports',
    grants: ['select on table glimpse.stories, glimpse.story_views, glimpse.story_reactions'],
  },
  backend: {
    about: 'reads any user’s stream, and sees, disconnects and forgets users',
    grants: [
      'execute on function glimpse.page(text, text, integer), glimpse.disconnect(text), glimpse.online(text[]), ' +
        'glimpse.forget_portion(text, text[], integer, text, text[], bigint)',
      'execute on procedure glimpse.forget(text, text[], integer, bigint)',
    ],
  },
  service: {
    about: 'is DATABASE_URL of instances with MIGRATE=off',
    grants: [
      'select, insert, update, delete on all tables in schema glimpse',
      'execute on function glimpse.move_queue(text[], integer)',
    ],
  },
} as const

export type Task = keyof typeof TASKS

/** The statements that let a role do this, for the owner of the schema to run. */
export function grantsFor(role: string, tasks: readonly Task[]): string[] {
  const grantee = `"${role.replaceAll('"', '""')}"`
  const grants = tasks.flatMap((task): readonly string[] => TASKS[task].grants)
  return [...new Set(['usage on schema glimpse', ...grants])].map((grant) => `grant ${grant} to ${grantee}`)
}
