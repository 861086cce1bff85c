import { grantsFor, TASKS, type Task } from '../store/rights.ts'
import { type Command, EXIT, parse, UsageError } from './command.ts'

const HELP = `Usage: glimpse grants --role <role> --for <task>[,<task>…] [--json]

Prints the SQL that gives a role the rights in the schema glimpse that a task needs, and nothing more. Run it as the owner
of the schema. It calls no database.

${Object.entries(TASKS)
  .map(([task, { about }]) => `  ${task.padEnd(9)}${about}`)
  .join('\n')}

  --json   {"statements": [sql…]} instead of SQL

Example:
  glimpse grants --role app_user --for write,react | psql "$DATABASE_URL"

Exit codes: 0 done, 2 called wrongly.
`

export const grants: Command = {
  help: HELP,
  async run(args, { stdout }) {
    const { values, positionals } = parse(args, {
      role: { type: 'string' },
      for: { type: 'string' },
      json: { type: 'boolean' },
    })
    if (positionals.length > 0) throw new UsageError('grants takes no arguments')
    const { role, tasks } = roleAndTasks(values)
    const statements = grantsFor(role, tasks)
    stdout.write(
      values.json
        ? `${JSON.stringify({ statements })}\n`
        : statements.map((statement) => `${statement};\n`).join(''),
    )
    return EXIT.ok
  },
}

export interface RoleAndTasks {
  readonly role: string
  readonly tasks: readonly Task[]
}

/** @throws UsageError where `--role` or `--for` is missing, or a task is unknown */
export function roleAndTasks({ role, for: tasks }: Readonly<Record<string, unknown>>): RoleAndTasks {
  if (typeof role !== 'string' || role === '') throw new UsageError('--role must name a role')
  if (typeof tasks !== 'string')
    throw new UsageError(`--for must name tasks: ${Object.keys(TASKS).join(', ')}`)
  return { role, tasks: tasks.split(',').map(taskOf) }
}

function taskOf(text: string): Task {
  if (Object.hasOwn(TASKS, text)) return text as Task
  throw new UsageError(`--for: there is no task ${text}; there are ${Object.keys(TASKS).join(', ')}`)
}
