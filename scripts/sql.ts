/** Runs SQL where no psql is installed: see HELP. */

import { text } from 'node:stream/consumers'
import { Client, type ServerMessage } from 'pg'
import { loadDotenv, takeEnvironment } from '../src/dotenv.ts'
import { runningUrl } from '../src/embedded/running.ts'
import { StartError } from '../src/errors.ts'
import { type ConnectionOptions, parseConnectionUrl } from '../src/postgres/connection-url.ts'
import { connectFirst } from '../src/postgres/endpoints.ts'
import { type Answer, Statements } from './statements.ts'
import { formatTable } from './table.ts'

const HELP = `Runs SQL on Glimpse's database and prints what comes back.

  npm run -s sql -- "select * from glimpse.streams"
  npm run -s sql -- "insert into …; select …"    several statements are one transaction
  npm run -s sql < file.sql                      without an argument: standard input
  psql "$(npm run -s sql -- --url)"              where psql is installed

The database is DATABASE_URL, else the embedded Postgres that Glimpse runs on DATA_DIR (default .glimpse);
this command never starts one.
`

async function main(args: readonly string[]): Promise<void> {
  const [first] = args
  if (first === '--help' || first === '-h') return write(HELP)
  const url = await databaseUrl()
  if (first === '--url') return write(`${url}\n`)
  if (first === undefined && process.stdin.isTTY) process.stderr.write('SQL, then Ctrl-D:\n')
  await run(url, first === undefined ? await text(process.stdin) : args.join(' '))
}

async function databaseUrl(): Promise<string> {
  // Empty counts as unset, as everywhere.
  loadDotenv()
  const dataDir = process.env.DATA_DIR || '.glimpse'
  const url = process.env.DATABASE_URL || (await runningUrl(dataDir))
  if (url === undefined) {
    throw new StartError(
      `sql: DATABASE_URL is not set and no embedded Postgres runs on DATA_DIR ${dataDir}; start Glimpse first`,
    )
  }
  return url
}

async function run(url: string, statements: string): Promise<void> {
  const client = await connect(parseConnectionUrl(url, takeEnvironment(process.env)))
  client.on('notice', (notice) => process.stderr.write(`${describe(notice)}\n`))
  try {
    const query = new Statements(
      statements,
      (answer) => write(format(answer)),
      (chunk) => process.stdout.write(chunk),
    )
    client.query(query)
    await query.done
  } finally {
    await client.end()
  }
}

/** pg over a socket that is open already, and encrypted as the URL says. */
function connect(connection: ConnectionOptions): Promise<Client> {
  const { user, password, database, startupOptions } = connection
  return connectFirst(
    connection,
    async ({ socket }) => {
      const client = new Client({
        user,
        password,
        database,
        ssl: false,
        stream: () => Object.assign(socket, { connect: () => setImmediate(() => socket.emit('connect')) }),
        application_name: 'glimpse-sql',
        ...(startupOptions === undefined ? {} : { options: startupOptions }),
      })
      // A connection lost in mid-query is reported by the query.
      client.on('error', () => {})
      await client.connect()
      return client
    },
    { timeoutMs: 10_000 },
  )
}

/** The type oids of int8, int2, int4, oid, float4, float8 and numeric: they stand to the right. */
const NUMERIC = new Set([20, 21, 23, 26, 700, 701, 1700])

/** As psql has it: rows as a table; a tag where there are none, and with what RETURNING gives. */
function format({ tag, columns, rows }: Answer): string {
  if (columns === undefined) return `${tag}\n`
  const table = formatTable(
    columns.map(({ name, type }) => ({ name, numeric: NUMERIC.has(type) })),
    rows,
  )
  return /^(INSERT|UPDATE|DELETE|MERGE)/.test(tag) ? `${table}\n${tag}\n` : `${table}\n`
}

function describe({ severity, message, detail, hint }: ServerMessage): string {
  const lines = [`${severity ?? 'ERROR'}: ${message}`]
  if (detail !== undefined) lines.push(`DETAIL: ${detail}`)
  if (hint !== undefined) lines.push(`HINT: ${hint}`)
  return lines.join('\n')
}

function write(output: string): void {
  process.stdout.write(output)
}

// `npm run -s sql -- … | head` closes our output early: not a fault.
process.stdout.on('error', () => process.exit(0))

main(process.argv.slice(2)).catch((error: Error & ServerMessage) => {
  const message = error.message || error.code || 'the connection failed'
  process.stderr.write(`${error instanceof StartError ? message : describe({ ...error, message })}\n`)
  process.exitCode = 1
})
