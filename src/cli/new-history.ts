import { parseConfig } from '../config.ts'
import { runningUrl } from '../embedded/running.ts'
import { StartError } from '../errors.ts'
import { parseConnectionUrl } from '../postgres/connection-url.ts'
import { openPool } from '../postgres/pool.ts'
import { type Command, EXIT, parse, UsageError } from './command.ts'

const HELP = `Usage: glimpse new-history [--yes]

Begins another history: every cursor that clients hold is answered by stream.reset (epoch), and they reload their state.
For after a restore of DATABASE_URL to an earlier state, when its clients may have seen events that it lost. Numbers and
events stay as they are. Prints the new epoch. The role needs to own the schema glimpse.

  --yes   do it; without it nothing is changed

Exit codes: 0 done, 1 a fault, 2 called wrongly.
`

export const newHistory: Command = {
  help: HELP,
  async run(args, { environment, stdout }) {
    const { values, positionals } = parse(args, { yes: { type: 'boolean' } })
    if (positionals.length > 0) throw new UsageError('new-history takes no arguments')
    if (values.yes !== true)
      throw new UsageError('new-history makes every client reload its state; confirm it with --yes')
    const parsed = parseConfig(environment)
    if (!parsed.ok) throw new StartError(parsed.faults.join('; '))
    const { database, dataDir } = parsed.config
    const url = database === undefined ? await runningUrl(dataDir) : undefined
    const connection = database ?? (url === undefined ? undefined : parseConnectionUrl(url))
    if (connection === undefined)
      throw new StartError('DATABASE_URL is not set and no embedded Postgres runs; start Glimpse first')
    const sql = openPool(connection, 'new-history', { max: 1 })
    try {
      const [row] = await sql<{ epoch: string }[]>`select glimpse.new_history() as epoch`.catch(
        (error: Error) => {
          throw new StartError(`the new history could not be begun: ${error.message}`, { cause: error })
        },
      )
      stdout.write(`${row?.epoch}\n`)
    } finally {
      await sql.end({ timeout: 1 })
    }
    return EXIT.ok
  },
}
