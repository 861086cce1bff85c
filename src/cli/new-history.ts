import { type Command, EXIT, parse, UsageError } from './command.ts'
import { withDatabase } from './database.ts'

const HELP = `Usage: glimpse new-history --yes [--json]

Begins another history: every cursor that clients hold is answered by stream.reset (epoch), and they reload their state.
For after a restore of DATABASE_URL to an earlier state, when its clients may have seen events that it lost. Numbers and
events stay as they are. Prints the new epoch. The role needs to own the schema glimpse.

  --yes    do it; without it nothing is changed
  --json   {"epoch"} instead of the epoch alone

Example:
  glimpse new-history --yes

Exit codes: 0 done, 1 a problem, 2 called wrongly.
`

export const newHistory: Command = {
  help: HELP,
  async run(args, { environment, stdout }) {
    const { values, positionals } = parse(args, { yes: { type: 'boolean' }, json: { type: 'boolean' } })
    if (positionals.length > 0) throw new UsageError('new-history takes no arguments')
    if (values.yes !== true)
      throw new UsageError('new-history makes every client reload its state; confirm it with --yes')
    const [row] = await withDatabase(
      environment,
      'new-history',
      (sql) => sql<{ epoch: string }[]>`select glimpse.new_history() as epoch`,
    )
    stdout.write(`${values.json ? JSON.stringify({ epoch: row?.epoch }) : row?.epoch}\n`)
    return EXIT.ok
  },
}
