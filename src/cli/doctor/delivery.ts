import { randomBytes } from 'node:crypto'
import type postgres from 'postgres'
import { withTimeout } from '../../limits/with-timeout.ts'
import type { ConnectionOptions } from '../../postgres/connection-url.ts'
import { isTransactionPooled } from '../../postgres/pooler.ts'
import type { Session } from '../../postgres/session.ts'
import { connectionProblem, openDatabase } from './connection.ts'
import { type Finding, ok, problem } from './finding.ts'
import type { Survey } from './server.ts'

const CHANNEL = 'glimpse_doctor'
/** An instance waits this long for its canary. */
const PATIENCE_MS = 2500

/** Whether a NOTIFY over DATABASE_URL is heard by a LISTEN over LISTEN_DATABASE_URL, and if not, why. */
export async function checkDelivery(
  sql: postgres.Sql,
  survey: Survey,
  ways: {
    readonly database: ConnectionOptions
    readonly listen: ConnectionOptions | undefined
    readonly pooler: 'none' | 'transaction'
  },
): Promise<Finding[]> {
  const variable = ways.listen === undefined ? 'DATABASE_URL' : 'LISTEN_DATABASE_URL'
  const way = ways.listen ?? ways.database
  const payload = randomBytes(9).toString('hex')
  let arrived = (_: true) => {}
  const heard = new Promise<true>((resolve) => {
    arrived = resolve
  })
  let listener: Session
  let place: Place
  try {
    listener = await openDatabase(way, 'none', (text) => {
      if (text === payload) arrived(true)
    })
    place = await readPlace(listener.sql)
  } catch (error) {
    return [connectionProblem(variable, way, error)]
  }
  try {
    const here = await readPlace(sql)
    if (place.name !== here.name)
      return [
        problem(
          'listen',
          'LISTEN_DATABASE_URL names another database than DATABASE_URL',
          'both must lead to the same database of the same server',
        ),
      ]
    // A relay may have LISTEN_DATABASE_URL alone.
    const pooled = ways.database === ways.listen ? [] : await checkPooler(survey, ways)
    return [
      ...pooled,
      await listenAndNotify({ sql, listener, payload, heard, variable, pooled: place.pooled }),
    ]
  } finally {
    await listener.end()
  }
}

async function checkPooler(
  survey: Survey,
  { database, pooler }: { readonly database: ConnectionOptions; readonly pooler: 'none' | 'transaction' },
): Promise<Finding[]> {
  if (pooler === 'transaction')
    return [ok('pooler', 'DATABASE_URL is declared to go through a transaction pooler')]
  if (await isTransactionPooled(database))
    return [
      problem(
        'pooler',
        'DATABASE_URL goes through a transaction pooler that is not declared',
        'set DATABASE_POOLER=transaction, and LISTEN_DATABASE_URL to a direct connection to the same database',
      ),
    ]
  return survey.pid === survey.announced_pid
    ? []
    : [ok('pooler', 'DATABASE_URL goes through a session pooler')]
}

interface Place {
  readonly name: string
  readonly pooled: boolean
}

/** What identifies the database, and whether a pooler is in front. */
async function readPlace(sql: postgres.Sql): Promise<Place> {
  const rows = await sql<{ name: string; pid: number }[]>`
    select concat_ws('/', (select system_identifier from pg_control_system()), oid) as name, pg_backend_pid() as pid
      from pg_database where datname = current_database()`
  return { name: rows[0]?.name ?? '', pooled: rows[0]?.pid !== (rows.state as { pid: number }).pid }
}

async function listenAndNotify({
  sql,
  listener,
  payload,
  heard,
  variable,
  pooled,
}: {
  readonly sql: postgres.Sql
  readonly listener: Session
  readonly payload: string
  readonly heard: Promise<true>
  readonly variable: string
  readonly pooled: boolean
}): Promise<Finding> {
  const sentAt = performance.now()
  const sent = listener.sql`listen ${listener.sql(CHANNEL)}`.then(
    () => sql`select pg_notify(${CHANNEL}, ${payload})`,
  )
  const arrived = await withTimeout(
    PATIENCE_MS,
    sent.then(() => heard),
    () => new Error('not heard in time'),
  ).catch(() => false)
  if (arrived) return ok('listen', `a NOTIFY came back in ${Math.ceil(performance.now() - sentAt)} ms`)
  const through = pooled
    ? `${variable} goes through a transaction pooler, where LISTEN receives nothing`
    : `a NOTIFY does not come back over ${variable}`
  return problem(
    'listen',
    through,
    'set LISTEN_DATABASE_URL to a direct connection to the same database (the port of Postgres itself, not of PgBouncer)',
  )
}
