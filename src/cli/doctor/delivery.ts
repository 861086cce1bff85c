import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type postgres from 'postgres'
import { connectionFault, openDatabase } from './connection.ts'
import { type Finding, fault, ok } from './finding.ts'
import type { Survey } from './server.ts'

const CHANNEL = 'glimpse_doctor'
/** As long as an instance waits for its canary. */
const PATIENCE_MS = 2500

/** Whether a NOTIFY over DATABASE_URL is heard by a LISTEN over LISTEN_DATABASE_URL, and if not, why. */
export async function checkDelivery(
  sql: postgres.Sql,
  survey: Survey,
  urls: { readonly database: string; readonly listen: string | undefined },
): Promise<Finding[]> {
  const variable = urls.listen === undefined ? 'DATABASE_URL' : 'LISTEN_DATABASE_URL'
  const url = urls.listen ?? urls.database
  const listener = openDatabase(url)
  try {
    let place: Place
    try {
      place = await readPlace(listener)
    } catch (error) {
      return [connectionFault(variable, url, error)]
    }
    const here = await readPlace(sql)
    if (place.name !== here.name)
      return [
        fault(
          'listen',
          'LISTEN_DATABASE_URL names another database than DATABASE_URL',
          'both must lead to the same database of the same server',
        ),
      ]
    const pooled =
      survey.pid !== survey.announced_pid ? [ok('pooler', 'DATABASE_URL goes through a pooler')] : []
    return [...pooled, await listenAndNotify(sql, listener, variable, place.pooled)]
  } finally {
    await listener.end({ timeout: 0 }).catch(() => {})
  }
}

interface Place {
  readonly name: string
  readonly pooled: boolean
}

/** The database as nobody else's, and whether something stands before it. */
async function readPlace(sql: postgres.Sql): Promise<Place> {
  const rows = await sql<{ name: string; pid: number }[]>`
    select concat_ws('/', (select system_identifier from pg_control_system()), oid) as name, pg_backend_pid() as pid
      from pg_database where datname = current_database()`
  return { name: rows[0]?.name ?? '', pooled: rows[0]?.pid !== (rows.state as { pid: number }).pid }
}

async function listenAndNotify(
  sql: postgres.Sql,
  listener: postgres.Sql,
  variable: string,
  pooled: boolean,
): Promise<Finding> {
  const payload = randomBytes(9).toString('hex')
  const patience = new AbortController()
  const heard = new Promise<boolean>((resolve) => {
    const listening = listener.listen(CHANNEL, (text) => {
      if (text === payload) resolve(true)
    })
    listening.then(() => sql`select pg_notify(${CHANNEL}, ${payload})`).catch(() => resolve(false))
  })
  const sentAt = performance.now()
  const arrived = await Promise.race([
    heard,
    sleep(PATIENCE_MS, false, { signal: patience.signal }).catch(() => false),
  ])
  patience.abort()
  if (arrived) return ok('listen', `a NOTIFY came back in ${Math.ceil(performance.now() - sentAt)} ms`)
  const through = pooled
    ? `${variable} goes through a transaction pooler, where LISTEN hears nothing`
    : `a NOTIFY does not come back over ${variable}`
  return fault(
    'listen',
    through,
    'set LISTEN_DATABASE_URL to a direct connection to the same database (the port of Postgres itself, not of PgBouncer)',
  )
}
