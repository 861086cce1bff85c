import { type Command, EXIT, parse } from './command.ts'
import { oneUser, withDatabase } from './database.ts'

const HELP = `Usage: glimpse disconnect <user> [--json]

Ends all connections of a user, on all instances, within a second. Their clients do not come back by themselves
(stream.close with closed). Prints how many there were. To keep the user out, take the user's tokens away first. It works
on DATABASE_URL; the role needs the rights of glimpse grants --for backend.

  --json   {"ended": number} instead of the number alone

Example:
  glimpse disconnect alice

Exit codes: 0 done, 1 a problem, 2 called wrongly.
`

export const disconnect: Command = {
  help: HELP,
  async run(args, { environment, stdout }) {
    const { values, positionals } = parse(args, { json: { type: 'boolean' } })
    const user = oneUser('disconnect', positionals)
    const rows = await withDatabase(
      environment,
      'disconnect',
      (sql) => sql<{ ended: number }[]>`select glimpse.disconnect(${user}) as ended`,
    )
    const ended = rows[0]?.ended
    stdout.write(`${values.json ? JSON.stringify({ ended }) : ended}\n`)
    return EXIT.ok
  },
}
