import { once } from 'node:events'
import { StartError } from '../errors.ts'
import { SingleSession } from '../postgres/single-session.ts'
import { type Command, EXIT, parse } from './command.ts'
import { findDatabase, oneUser } from './database.ts'

const HELP = `Usage: glimpse export <user>

Prints all that is kept about a user, as JSON lines {"table", "row"}, as of one moment: stories, views, reactions, the
stream and its events, the events of others that name the user, tickets and connections. It works on DATABASE_URL; the
role needs to read the tables (glimpse grants --for service).

Example:
  glimpse export alice > alice.jsonl

Exit codes: 0 done, 1 a problem, 2 called wrongly.
`

/**
 * By table: which of its rows are about the user $1. An event's body is searched for the user as JSON text, because events of
 * one's own may name a user anywhere: $2 as Postgres and JavaScript write it, $3 with every character beyond ASCII escaped.
 */
const ABOUT: Readonly<Record<string, string>> = {
  stories: 'author_id = $1',
  story_views: 'viewer_id = $1',
  story_reactions: 'user_id = $1',
  streams: 'user_id = $1',
  events: 'user_id = $1 or strpos(body, $2) > 0 or strpos(lower(body), $3) > 0',
  queue: 'user_id = $1 or strpos(tail, $2) > 0 or strpos(lower(tail), $3) > 0',
  tickets: 'user_id = $1',
  connections: 'user_id = $1',
}

const PORTION = 1000
const CONNECT_TIMEOUT_MS = 10_000

export const exportUser: Command = {
  help: HELP,
  async run(args, { environment, stdout, interrupted }) {
    const user = oneUser('export', parse(args, {}).positionals)
    const connection = await findDatabase(environment)
    const session = await SingleSession.open(
      { connection, purpose: 'export', connectTimeoutMs: CONNECT_TIMEOUT_MS },
      interrupted,
    ).catch(fail)
    try {
      await session.query('begin isolation level repeatable read read only')
      for (const [table, about] of Object.entries(ABOUT)) {
        await session.query(
          `declare about cursor for select json_build_object('table', '${table}', 'row', t)::text as line from glimpse.${table} t where ${about}`,
          about.includes('$2') ? [user, JSON.stringify(user), escaped(user)] : [user],
        )
        for (;;) {
          const rows = await session.query<{ line: string }>(`fetch ${PORTION} from about`)
          if (rows.length === 0) break
          if (!stdout.write(rows.map(({ line }) => `${line}\n`).join(''))) await once(stdout, 'drain')
        }
        await session.query('close about')
      }
    } catch (error) {
      fail(error)
    } finally {
      session.end()
    }
    return EXIT.ok
  },
}

/** In lower case, because hexadecimal digits of an escape may be upper or lower case. */
function escaped(user: string): string {
  const inAscii = (unit: string) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`
  return JSON.stringify(user)
    .replace(/[^\x20-\x7e]/g, inAscii)
    .toLowerCase()
}

function fail(error: unknown): never {
  throw new StartError(`it failed: ${(error as Error).message}`, { cause: error })
}
