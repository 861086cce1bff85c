import { type Command, EXIT, parse, UsageError } from './command.ts'
import { parseDuration } from './duration.ts'
import { type Sizing, sizeOf } from './sizing.ts'

const HELP = `Usage: glimpse size --users <n> --views <n> [options]

Estimates what a load takes: instances, memory, CPU, connections to Postgres, disk and WAL. The formulae and what they
were measured on are in docs/sizing.md; your hardware differs, so take it as a beginning.

  --users <n>          users with an open stream at the busiest time
  --views <n>          views and reactions a day
  --connections <n>    open streams of a user; 1 by default
  --peak <n>           the busiest second against the day's average; 5 by default
  --retention <time>   how long events are kept, such as 24h or 7d; 7d by default
  --json               the figures in bytes, seconds and cores instead of a table

Numbers may end in k or M: 50k, 2M.

Examples:
  glimpse size --users 20k --views 1M
  glimpse size --users 1M --views 100M --connections 1.5 --retention 2d --json

Exit codes: 0 printed, 1 one database does not carry it, 2 called wrongly.
`

const YEAR_SECONDS = 31_536_000

export const size: Command = {
  help: HELP,
  async run(args, { stdout, stderr }) {
    const { values, positionals } = parse(args, {
      users: { type: 'string' },
      views: { type: 'string' },
      connections: { type: 'string', default: '1' },
      peak: { type: 'string', default: '5' },
      retention: { type: 'string', default: '7d' },
      json: { type: 'boolean' },
    })
    if (positionals.length > 0) throw new UsageError('size takes no arguments')
    const number = (option: string, most: number) => parseNumber(`--${option}`, values[option], most)
    const load = {
      users: number('users', 1e9),
      views: number('views', 1e12),
      connectionsPerUser: number('connections', 1000),
      peak: number('peak', 10_000),
      retentionHours: parseDuration('--retention', String(values.retention), YEAR_SECONDS) / 3600,
    }
    const sizing = sizeOf(load)
    if (sizing === undefined) {
      stderr.write(
        'one database does not carry this: divide the users over several (docs/scaling.md, section 6)\n',
      )
      return EXIT.problem
    }
    stdout.write(values.json ? `${JSON.stringify(sizing)}\n` : table(sizing))
    return EXIT.ok
  },
}

function parseNumber(option: string, value: string | boolean | undefined, most: number): number {
  const [, digits, unit = ''] = /^(\d{1,12}(?:\.\d{1,3})?)([kM]?)$/.exec(String(value ?? '')) ?? []
  const parsed = Number(digits) * ({ k: 1e3, M: 1e6 }[unit] ?? 1)
  if (!(parsed > 0 && parsed <= most))
    throw new UsageError(
      `${option} must be a number up to ${most.toLocaleString('en')}, such as 500, 20k or 1.5M`,
    )
  return parsed
}

function table({ events, instances, postgres }: Sizing): string {
  const rows: readonly (readonly [string, string])[] = [
    ['events', `${rounded(events.perSecond)}/s on average, ${rounded(events.atPeak)}/s at the peak`],
    ['instances', `${instances.count}, of which one may be missing`],
    ['  streams each', `${rounded(instances.connectionsEach)} at most: MAX_CONNECTIONS`],
    ['  open files each', rounded(instances.openFilesEach)],
    ['  memory each', bytes(instances.memoryBytesEach)],
    ['  CPU each', `${instances.coresEach.toFixed(2)} of a core at the peak`],
    ['Postgres', ''],
    ['  cores', `${Math.max(postgres.cores, 0.1).toFixed(1)}, busy to 60 % at the peak`],
    ['  max_connections', `${postgres.maxConnections} or more, or a transaction pooler`],
    [
      '  WAL',
      `${bytes(postgres.walBytesPerDay)} a day, ${bytes(postgres.walBytesPerSecondAtPeak)}/s at the peak`,
    ],
    ['  events kept', bytes(postgres.logBytes)],
    ['  views kept', bytes(postgres.viewBytes)],
  ]
  return rows
    .map(([name, value]) => `${name.padEnd(18)}${value}`.trimEnd())
    .join('\n')
    .concat('\n')
}

function rounded(value: number): string {
  return value < 10 ? value.toFixed(1) : Math.round(value).toLocaleString('en')
}

function bytes(value: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  let [scaled, unit] = [value, 0]
  for (; scaled >= 1000 && unit < units.length - 1; unit++) scaled /= 1000
  return `${scaled.toFixed(scaled < 10 && unit > 0 ? 1 : 0)} ${units[unit]}`
}
