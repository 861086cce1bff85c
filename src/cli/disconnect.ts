import { type Command, EXIT, parse } from './command.ts'
import { oneUser, withDatabase } from './database.ts'

const HELP = `Usage: glimpse disconnect <user>

Ends all connections of a user, on all instances, within a second. Their clients do not come back by themselves
(stream.close with closed). Prints how many there were. To keep the user out, take the user's tokens away first. It works
on DATABASE_URL; the role needs the rights of glimpse grants --for backend.

Example:
  glimpse disconnect alice

Exit codes: 0 done, 1 a problem, 2 called wrongly.
`

export const disconnect: Command = {
  help: HELP,
  async run(args, { environment, stdout }) {
    const user = oneUser('disconnect', parse(args, {}).positionals)
    const rows = await withDatabase(
      environment,
      'disconnect',
      (sql) => sql<{ ended: number }[]>`select glimpse.disconnect(${user}) as ended`,
    )
    stdout.write(`${rows[0]?.ended}\n`)
    return EXIT.ok
  },
}
