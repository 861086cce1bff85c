import type { ConnectionOptions } from '../../postgres/connection-url.ts'
import { SESSION_SETTINGS, Session } from '../../postgres/session.ts'
import { type Finding, problem } from './finding.ts'

const CONNECT_TIMEOUT_MS = 5000

/**
 * One connection for the checks, opened like the service's own and with the same settings, so that it has the same problems.
 *
 * @param pooler through a pooler no settings are made, as in the service
 */
export function openDatabase(
  connection: ConnectionOptions,
  pooler: 'none' | 'transaction',
  onNotify?: (payload: string) => void,
): Promise<Session> {
  return Session.open({
    connection,
    purpose: 'doctor',
    prepare: false,
    settings: pooler === 'none' ? SESSION_SETTINGS : undefined,
    timeoutMs: CONNECT_TIMEOUT_MS,
    ...(onNotify === undefined ? {} : { onNotify }),
  })
}

/** A connection for the report, without its password. */
export function describe({ user, database, endpoints }: ConnectionOptions): string {
  const places = endpoints.map(
    ({ host, port, path }) => path ?? `${host.includes(':') ? `[${host}]` : host}:${port}`,
  )
  return `${user}@${places.join(',')}/${database}`
}

/** How to fix a failed connection, by the error code or the SQLSTATE. */
const FIXES: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens there: start Postgres, or correct host and port',
  ENOENT: 'there is no such socket: start Postgres, or correct the folder of its socket',
  ENOTFOUND: 'correct the host: there is no such name',
  EAI_AGAIN: 'correct the host, or fix name resolution on this machine',
  EHOSTUNREACH: 'no route leads there: look at network and firewall',
  ETIMEDOUT: 'look at the firewall between here and there, and at listen_addresses',
  TIMEOUT: 'it is silent: look at the firewall between here and there, and whether this is Postgres at all',
  CLOSED: 'it closed the connection: is this the port of Postgres?',
  STANDBY: 'name the primary, or all the servers that could be it',
  TLS: 'correct sslmode and sslrootcert: verify-full needs the CA that signed the certificate, require takes any certificate',
  '28P01': 'correct user or password; percent-encode what is special in it',
  '28000': 'let this user and address in by pg_hba.conf; add ?sslmode=require where the server wants TLS',
  '3D000': 'create it (createdb), or correct the name at the end of the URL',
  '42501': 'grant CONNECT on the database to this user',
  '53300': 'raise max_connections, or close what holds them',
  '57P03': 'it is starting or stopping: try again in a moment',
}

/** @param variable the variable of the URL */
export function connectionProblem(variable: string, connection: ConnectionOptions, error: unknown): Finding {
  const { code = '', message } = error as NodeJS.ErrnoException
  const reason = message || code
  const says = `${variable}: ${describe(connection)} cannot be reached: ${reason.split('\n')[0]}`
  return problem(
    'database',
    says,
    FIXES[code] ?? `make the URL in ${variable} work: psql with the same URL must`,
  )
}
