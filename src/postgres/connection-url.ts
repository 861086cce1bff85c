import { userInfo } from 'node:os'

/** An endpoint of Postgres: a host (whose `address` may be given) with a port, or a Unix socket. */
export interface Endpoint {
  /** The name that a certificate is verified against; the folder of the socket if there is a `path`. */
  readonly host: string
  /** libpq's `hostaddr`: where to connect to, without asking the name service. */
  readonly address: string | undefined
  readonly port: number
  /** The Unix socket's path. */
  readonly path: string | undefined
}

/** libpq's `sslmode`s, and pg's `no-verify`. */
export type TlsMode = 'disable' | 'allow' | 'prefer' | 'require' | 'verify-ca' | 'verify-full' | 'no-verify'

/** How connections are encrypted. Files are read at each connect, so that renewed ones are used. */
export interface TlsOptions {
  readonly mode: TlsMode
  /** TLS from the first byte, without asking for it in clear (Postgres 17). */
  readonly direct: boolean
  /** PEM files; `rootCert` may be `system`, for the certificate authorities that Node knows. */
  readonly rootCert: string | undefined
  readonly crl: string | undefined
  readonly cert: string | undefined
  readonly key: string | undefined
  readonly keyPassword: string | undefined
  /** Whether the host's name is sent in clear (SNI). */
  readonly sendsName: boolean
  readonly minVersion: 'TLSv1' | 'TLSv1.1' | 'TLSv1.2' | 'TLSv1.3' | undefined
  readonly maxVersion: 'TLSv1' | 'TLSv1.1' | 'TLSv1.2' | 'TLSv1.3' | undefined
}

/** A parsed URL: everything that a connection needs, in one form for both drivers. */
export interface ConnectionOptions {
  /** Tried in this order. */
  readonly endpoints: readonly Endpoint[]
  /** Whether read-only endpoints are skipped. */
  readonly primary: boolean
  readonly user: string
  /** Empty where none is given. */
  readonly password: string
  readonly database: string
  readonly tls: TlsOptions
  /** The timeout of one attempt at one endpoint, if the URL has one. */
  readonly connectTimeoutMs: number | undefined
  /** Silence after which TCP keepalive probes the peer, ms; 0: never. */
  readonly keepAliveMs: number
  /** The beginning of our connections' application_name. */
  readonly name: string
  /** The startup parameter `options`, such as `-c search_path=app`. */
  readonly startupOptions: string | undefined
}

/** A URL that is not valid. The message says what is wrong and never repeats a value. */
export class ConnectionUrlError extends Error {
  override readonly name = 'ConnectionUrlError'
}

type Environment = Readonly<Record<string, string | undefined>>

const DEFAULT_PORT = '5432'
const DEFAULT_KEEP_ALIVE_MS = 30_000
/** The default hosts: the sockets of Debian's and of the original packages, then TCP. */
const DEFAULT_HOSTS = '/var/run/postgresql,/tmp,localhost'
const MAX_CONNECT_SECONDS = 60

/** libpq's parameters that we use, with the environment variable of their default. */
const MEANT = {
  host: 'PGHOST',
  hostaddr: 'PGHOSTADDR',
  port: 'PGPORT',
  dbname: 'PGDATABASE',
  user: 'PGUSER',
  password: 'PGPASSWORD',
  connect_timeout: 'PGCONNECT_TIMEOUT',
  options: 'PGOPTIONS',
  application_name: 'PGAPPNAME',
  fallback_application_name: undefined,
  keepalives: undefined,
  keepalives_idle: undefined,
  target_session_attrs: 'PGTARGETSESSIONATTRS',
  sslmode: 'PGSSLMODE',
  sslnegotiation: 'PGSSLNEGOTIATION',
  sslrootcert: 'PGSSLROOTCERT',
  sslcert: 'PGSSLCERT',
  sslkey: 'PGSSLKEY',
  sslpassword: undefined,
  sslcrl: 'PGSSLCRL',
  sslsni: 'PGSSLSNI',
  ssl_min_protocol_version: 'PGSSLMINPROTOCOLVERSION',
  ssl_max_protocol_version: 'PGSSLMAXPROTOCOLVERSION',
  gssencmode: undefined,
  replication: undefined,
} as const satisfies Record<string, string | undefined>

type Parameter = keyof typeof MEANT

/** libpq's parameters (PostgreSQL manual, "Parameter Key Words") that concern only libpq itself. */
const IGNORED: ReadonlySet<string> = new Set([
  'channel_binding',
  'client_encoding',
  'gssdelegation',
  'gsslib',
  'keepalives_count',
  'keepalives_interval',
  'krbsrvname',
  'load_balance_hosts',
  'max_protocol_version',
  'min_protocol_version',
  'sslcertmode',
  'sslcompression',
  'sslkeylogfile',
  'tcp_user_timeout',
])

/** Parameters of other drivers, and what to write instead. */
const REFUSED: Readonly<Record<string, string>> = {
  pgbouncer: 'set DATABASE_POOLER=transaction instead',
  prepare: 'set DATABASE_POOLER=transaction where a transaction pooler is in between',
  require_auth: 'Glimpse cannot promise it',
  requirepeer: 'Glimpse cannot promise it',
  service: 'write out what the service file says',
  servicefile: 'write out what the service file says',
  passfile: 'give the password in the URL',
  sslcrldir: 'name one file by sslcrl',
}

const MODES: ReadonlySet<string> = new Set([
  'disable',
  'allow',
  'prefer',
  'require',
  'verify-ca',
  'verify-full',
  'no-verify',
] satisfies TlsMode[])

const ENCODE = 'what is special in a user name or password (@ : / ? # %) must be percent-encoded'

/**
 * Reads a connection URL by libpq's rules (PostgreSQL manual, "Connection URIs").
 *
 * @param environment where libpq's own variables (PGPASSWORD, PGSSLMODE …) are looked up for what the URL leaves out
 * @throws ConnectionUrlError the message continues a sentence that begins with the variable's name
 */
export function parseConnectionUrl(url: string, environment: Environment = {}): ConnectionOptions {
  const given = new Map<Parameter, string>()
  for (const [parameter, variable] of Object.entries(MEANT) as [Parameter, string | undefined][]) {
    const value = variable === undefined ? undefined : environment[variable]
    if (value !== undefined && value !== '') given.set(parameter, value)
  }
  for (const [parameter, value] of readUrl(url)) if (value !== '') given.set(parameter, value)
  refuseImpossible(given)

  const endpoints = readEndpoints(given)
  const user = given.get('user') ?? userInfo().username
  return {
    endpoints,
    primary: readPrimary(given, endpoints.length > 1),
    user,
    password: given.get('password') ?? '',
    database: given.get('dbname') ?? user,
    tls: readTls(given),
    connectTimeoutMs: readConnectTimeout(given),
    keepAliveMs: readKeepAlive(given),
    name: given.get('application_name') ?? given.get('fallback_application_name') ?? 'glimpse',
    startupOptions: given.get('options'),
  }
}

function* readUrl(url: string): Generator<[Parameter, string]> {
  const [, rest] = /^postgres(?:ql)?:\/\/(.*)$/s.exec(url) ?? []
  if (rest === undefined)
    throw new ConnectionUrlError(
      'must be a postgres:// URL, such as postgres://user:password@host:5432/database',
    )
  const slash = rest.indexOf('/')
  const at = rest.indexOf('@')
  // For libpq the first @ before the first slash ends the password.
  const hasUser = at !== -1 && (slash === -1 || at < slash)
  if (hasUser) {
    const [user = '', ...password] = rest.slice(0, at).split(':')
    yield ['user', decode(user, ENCODE)]
    yield ['password', decode(password.join(':'), ENCODE)]
  }
  const [, authority = '', path = '', query = ''] =
    /^([^/?]*)(?:\/([^?]*))?(?:\?(.*))?$/s.exec(hasUser ? rest.slice(at + 1) : rest) ?? []
  if (authority.includes('@') || path.includes('@')) throw new ConnectionUrlError(ENCODE)
  const hosts = authority === '' ? [] : authority.split(',').map((text) => readHost(text))
  if (hosts.some(({ host }) => host !== '')) yield ['host', hosts.map(({ host }) => host).join(',')]
  if (hosts.some(({ port }) => port !== '')) yield ['port', hosts.map(({ port }) => port).join(',')]
  yield ['dbname', decode(path)]
  if (query !== '') yield* readQuery(query)
}

function readHost(text: string): { host: string; port: string } {
  const match = /^(?:\[([^\]]*)\]|([^:[\]]*))(?::([0-9]*))?$/.exec(text)
  if (match === null) {
    // If the password contains a slash, "user:pass" before it looks like a host with a port.
    throw new ConnectionUrlError(
      `must be a postgres:// URL with a host such as db.example:5432 or [::1]:5432; ${ENCODE}`,
    )
  }
  return { host: decode(match[1] ?? match[2] ?? ''), port: match[3] ?? '' }
}

function* readQuery(query: string): Generator<[Parameter, string]> {
  for (const pair of query.split('&')) {
    const equals = pair.indexOf('=')
    if (equals === -1 || pair.indexOf('=', equals + 1) !== -1)
      throw new ConnectionUrlError(`each parameter after the ? must be written name=value; ${ENCODE}`)
    const name = decode(pair.slice(0, equals))
    const value = decode(pair.slice(equals + 1))
    // The JDBC spelling; libpq accepts exactly this one.
    if (name === 'ssl' && value === 'true') yield ['sslmode', 'require']
    else if (name in MEANT) yield [name as Parameter, value]
    else if (!IGNORED.has(name)) throw new ConnectionUrlError(refusal(name))
  }
}

function refusal(name: string): string {
  if (Object.hasOwn(REFUSED, name)) return `the parameter ${name} is not taken: ${REFUSED[name]}`
  // After a question mark in a password, the name may be a part of the password.
  const shown = /^[a-z][\w.]{0,40}$/i.test(name) ? `parameter ${name}` : 'a parameter'
  return `${shown} after the ? is none that libpq knows; write a server setting as options=-c%20name%3Dvalue`
}

function decode(text: string, hint = 'a % must be followed by two hexadecimal digits'): string {
  try {
    const decoded = decodeURIComponent(text)
    if (decoded.includes('\0')) throw new ConnectionUrlError('must not hold a NUL (%00)')
    return decoded
  } catch (error) {
    throw error instanceof ConnectionUrlError ? error : new ConnectionUrlError(hint)
  }
}

function refuseImpossible(given: ReadonlyMap<Parameter, string>): void {
  if (given.get('gssencmode') === 'require')
    throw new ConnectionUrlError('gssencmode=require is not possible; use sslmode=require')
  const replication = given.get('replication')
  if (replication !== undefined && !/^(false|off|no|0)$/.test(replication))
    throw new ConnectionUrlError('replication must be left out')
}

function readEndpoints(given: ReadonlyMap<Parameter, string>): Endpoint[] {
  const addresses = given.get('hostaddr')?.split(',')
  const hosts = (given.get('host') ?? given.get('hostaddr') ?? DEFAULT_HOSTS).split(',')
  const ports = (given.get('port') ?? DEFAULT_PORT).split(',')
  if (addresses !== undefined && addresses.length !== hosts.length)
    throw new ConnectionUrlError('hostaddr must have as many addresses as there are hosts')
  if (ports.length !== 1 && ports.length !== hosts.length)
    throw new ConnectionUrlError('port must be one, or as many as there are hosts')
  return hosts.flatMap((host, i) => {
    const text = (ports.length === 1 ? ports[0] : ports[i]) || DEFAULT_PORT
    const port = Number(text)
    if (!/^[0-9]+$/.test(text) || port < 1 || port > 65_535)
      throw new ConnectionUrlError('a port must be a whole number from 1 to 65535')
    const names = host === '' ? DEFAULT_HOSTS.split(',') : [host]
    return names.map((name) => ({
      host: name,
      address: addresses?.[i] || undefined,
      port,
      path: name.startsWith('/') && !addresses?.[i] ? `${name}/.s.PGSQL.${port}` : undefined,
    }))
  })
}

function readPrimary(given: ReadonlyMap<Parameter, string>, several: boolean): boolean {
  const wanted = given.get('target_session_attrs')
  if (wanted !== undefined && !['any', 'read-write', 'primary'].includes(wanted))
    throw new ConnectionUrlError('target_session_attrs must be read-write, primary or any: Glimpse writes')
  return several || (wanted !== undefined && wanted !== 'any')
}

function readConnectTimeout(given: ReadonlyMap<Parameter, string>): number | undefined {
  const seconds = readWhole(given, 'connect_timeout')
  // 0 means no timeout in libpq.
  return seconds === undefined || seconds <= 0 ? undefined : Math.min(seconds, MAX_CONNECT_SECONDS) * 1000
}

function readKeepAlive(given: ReadonlyMap<Parameter, string>): number {
  if (readWhole(given, 'keepalives') === 0) return 0
  const seconds = readWhole(given, 'keepalives_idle') ?? 0
  return seconds > 0 ? seconds * 1000 : DEFAULT_KEEP_ALIVE_MS
}

function readWhole(given: ReadonlyMap<Parameter, string>, parameter: Parameter): number | undefined {
  const text = given.get(parameter)
  if (text === undefined) return undefined
  if (!/^-?[0-9]{1,9}$/.test(text.trim())) throw new ConnectionUrlError(`${parameter} must be a whole number`)
  return Number(text)
}

function readTls(given: ReadonlyMap<Parameter, string>): TlsOptions {
  const system = given.get('sslrootcert') === 'system'
  const mode = given.get('sslmode') ?? (system ? 'verify-full' : 'prefer')
  if (!MODES.has(mode)) throw new ConnectionUrlError(`sslmode must be one of ${[...MODES].join(', ')}`)
  if (system && mode !== 'verify-full')
    throw new ConnectionUrlError('sslmode must be verify-full where sslrootcert is system')
  const negotiation = given.get('sslnegotiation') ?? 'postgres'
  if (!['postgres', 'direct'].includes(negotiation))
    throw new ConnectionUrlError('sslnegotiation must be postgres or direct')
  const direct = negotiation === 'direct'
  if (direct && ['disable', 'allow', 'prefer'].includes(mode))
    throw new ConnectionUrlError('sslmode must be require or stronger where sslnegotiation is direct')
  return {
    mode: mode as TlsMode,
    direct,
    rootCert: given.get('sslrootcert'),
    crl: given.get('sslcrl'),
    cert: given.get('sslcert'),
    key: given.get('sslkey'),
    keyPassword: given.get('sslpassword'),
    sendsName: given.get('sslsni') !== '0',
    minVersion: readVersion(given, 'ssl_min_protocol_version'),
    maxVersion: readVersion(given, 'ssl_max_protocol_version'),
  }
}

function readVersion(given: ReadonlyMap<Parameter, string>, parameter: Parameter): TlsOptions['minVersion'] {
  const text = given.get(parameter)
  if (text === undefined) return undefined
  const version = (['TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3'] as const).find(
    (each) => each.toLowerCase() === text.toLowerCase(),
  )
  if (version === undefined) throw new ConnectionUrlError(`${parameter} must be one of TLSv1 to TLSv1.3`)
  return version
}
