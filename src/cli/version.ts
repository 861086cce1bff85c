import { INFO } from '../http/documents/info.ts'
import { type Command, EXIT, parse, UsageError } from './command.ts'

const HELP = `Usage: glimpse version [--json]

Prints the version of Glimpse. --json adds Node's version and the platform.

Example:
  glimpse version --json

Exit codes: 0 printed, 2 called wrongly.
`

export const version: Command = {
  help: HELP,
  async run(args, { stdout }) {
    const { values, positionals } = parse(args, { json: { type: 'boolean' } })
    if (positionals.length > 0) throw new UsageError('version takes no arguments')
    const { platform, arch, version: node } = process
    const told = { glimpse: INFO.version, node: node.slice(1), platform: `${platform}-${arch}` }
    stdout.write(`${values.json ? JSON.stringify(told) : told.glimpse}\n`)
    return EXIT.ok
  },
}
