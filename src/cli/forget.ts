import { type Command, EXIT, parse, UsageError } from './command.ts'
import { oneUser, withDatabase } from './database.ts'

const HELP = `Usage: glimpse forget <user> --yes [--fields <name>[,<name>…]] [--json]

Erases what names a user: stories, views, reactions, the stream, the read mark, tickets; connections end. In the events of
others the user becomes null; their numbers and cursors stay. It looks at every row of the schema once, in portions. Prints
how many rows it changed. Interrupted, it can be started again. Take the user's tokens away first: what the user writes
meanwhile may stay. It works on DATABASE_URL; the role needs the rights of glimpse grants --for backend.

  --yes               do it; without it nothing is changed
  --fields <names>    fields of events' data that name users; viewer_id,user_id,author_id by default
  --json              {"erased": number} instead of the number alone

Examples:
  glimpse forget alice --yes
  glimpse forget alice --yes --fields viewer_id,user_id,tagged_by

Exit codes: 0 done, 1 a problem, 2 called wrongly.
`

const FIELDS = 'viewer_id,user_id,author_id'

export const forget: Command = {
  help: HELP,
  async run(args, { environment, stdout }) {
    const { values, positionals } = parse(args, {
      yes: { type: 'boolean' },
      fields: { type: 'string' },
      json: { type: 'boolean' },
    })
    const user = oneUser('forget', positionals)
    if (values.yes !== true) throw new UsageError('forget erases for good; confirm it with --yes')
    const fields = String(values.fields ?? FIELDS).split(',')
    if (fields.includes('')) throw new UsageError('--fields must be names with commas between')
    const rows = await withDatabase(
      environment,
      'forget',
      (sql) => sql<{ erased: string }[]>`call glimpse.forget(${user}, ${fields})`,
    )
    const erased = Number(rows[0]?.erased)
    stdout.write(`${values.json ? JSON.stringify({ erased }) : erased}\n`)
    return EXIT.ok
  },
}
