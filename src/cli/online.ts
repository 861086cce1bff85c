import { type Command, EXIT, parse, UsageError } from './command.ts'
import { aUser, withDatabase } from './database.ts'

const HELP = `Usage: glimpse online <user>… [--json]

Prints those of the users who are connected now, on whichever instance, one a line. It works on DATABASE_URL; the role
needs the rights of glimpse grants --for backend.

  --json   {"online": [user…]} instead of lines

Example:
  glimpse online alice bob carol

Exit codes: 0 done, even if nobody is connected, 1 a problem, 2 called wrongly.
`

export const online: Command = {
  help: HELP,
  async run(args, { environment, stdout }) {
    const { values, positionals } = parse(args, { json: { type: 'boolean' } })
    const users = positionals.map(aUser)
    if (users.length === 0) throw new UsageError('online takes one user or more')
    const rows = await withDatabase(
      environment,
      'online',
      (sql) => sql<{ user: string }[]>`select glimpse.online(${users}) as user`,
    )
    const connected = rows.map(({ user }) => user)
    stdout.write(
      values.json
        ? `${JSON.stringify({ online: connected })}\n`
        : connected.map((user) => `${user}\n`).join(''),
    )
    return EXIT.ok
  },
}
