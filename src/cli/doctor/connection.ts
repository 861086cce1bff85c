import postgres from 'postgres'
import { type Destination, socketFactory } from '../../postgres/socket.ts'
import { type Finding, fault } from './finding.ts'

const CONNECT_TIMEOUT_SECONDS = 5

interface Options extends postgres.Options<Record<string, never>> {
  readonly socket: (destination: Destination) => unknown
}

/** One connection for the checks; the pool of the service would hide its breaking. */
export function openDatabase(url: string): postgres.Sql {
  const options: Options = {
    max: 1,
    connect_timeout: CONNECT_TIMEOUT_SECONDS,
    fetch_types: false,
    prepare: false,
    connection: { application_name: 'glimpse-doctor' },
    onnotice: () => {},
    socket: socketFactory(),
  }
  return postgres(url, options)
}

/** What a URL may say in a report: never its password. */
export function describeUrl(url: string): string {
  const { hostname, port, pathname, username } = new URL(url)
  return `${decodeURIComponent(username)}@${hostname}:${port || 5432}${decodeURIComponent(pathname)}`
}

/** What to do about a connection that failed, by the code of the system call or the SQLSTATE. */
const MENDS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens there: start Postgres, or correct host and port',
  ENOTFOUND: 'correct the host: there is no such name',
  EAI_AGAIN: 'correct the host, or mend name resolution on this machine',
  EHOSTUNREACH: 'no route leads there: look at network and firewall',
  ETIMEDOUT: 'look at the firewall between here and there, and at listen_addresses',
  CONNECT_TIMEOUT:
    'it is silent: look at the firewall between here and there, and whether this is Postgres at all',
  CONNECTION_CLOSED: 'it closed the connection: is this the port of Postgres?',
  '28P01': 'correct user or password; percent-encode what is special in it',
  '28000': 'let this user and address in by pg_hba.conf; add ?sslmode=require where the server wants TLS',
  '3D000': 'create it (createdb), or correct the name at the end of the URL',
  '42501': 'grant CONNECT on the database to this user',
  '53300': 'raise max_connections, or close what holds them',
  '57P03': 'it is starting or stopping: try again in a moment',
}

/** @param variable the one that holds the URL */
export function connectionFault(variable: string, url: string, error: unknown): Finding {
  const { code = '', message } = error as NodeJS.ErrnoException
  const reason = message || code
  const says = `${variable}: ${describeUrl(url)} cannot be reached: ${reason.split('\n')[0]}`
  return fault(
    'database',
    says,
    MENDS[code] ?? `make the URL in ${variable} work: psql with the same URL must`,
  )
}
