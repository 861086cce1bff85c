import { describe, expect, it } from 'vitest'
import { ConnectionUrlError, parseConnectionUrl } from '../../src/postgres/connection-url.ts'

/** What a URL means, as short as a test can say it. */
function meaning(url: string, environment: Record<string, string> = {}) {
  const { endpoints, user, password, database } = parseConnectionUrl(url, environment)
  return {
    at: endpoints.map(({ host, port, path }) => path ?? `${host} ${port}`).join(', '),
    user,
    password,
    database,
  }
}

function refusal(url: string, environment: Record<string, string> = {}): string {
  try {
    parseConnectionUrl(url, environment)
  } catch (error) {
    if (error instanceof ConnectionUrlError) return error.message
    throw error
  }
  return 'taken'
}

const URLS: readonly [string, ReturnType<typeof meaning>][] = [
  ['postgres://u:p@h:6543/db', { at: 'h 6543', user: 'u', password: 'p', database: 'db' }],
  ['postgresql://u:p@h/db', { at: 'h 5432', user: 'u', password: 'p', database: 'db' }],
  ['postgres://u@h', { at: 'h 5432', user: 'u', password: '', database: 'u' }],
  ['postgres://u:p@h/my%20db', { at: 'h 5432', user: 'u', password: 'p', database: 'my db' }],
  [
    'postgres://a%40b:p%3A%2F%3F%23%25@h/db',
    { at: 'h 5432', user: 'a@b', password: 'p:/?#%', database: 'db' },
  ],
  ['postgres://u:p:q@h/db', { at: 'h 5432', user: 'u', password: 'p:q', database: 'db' }],
  ['postgres://u:p?q#r@h/db', { at: 'h 5432', user: 'u', password: 'p?q#r', database: 'db' }],
  ['postgres://u:p@[::1]:5433/db', { at: '::1 5433', user: 'u', password: 'p', database: 'db' }],
  [
    'postgres://u:p@[fe80::1%25eth0]/db',
    { at: 'fe80::1%eth0 5432', user: 'u', password: 'p', database: 'db' },
  ],
  ['postgres://u:p@a:5432,b:5433/db', { at: 'a 5432, b 5433', user: 'u', password: 'p', database: 'db' }],
  ['postgres://u:p@a,[::1]:7/db', { at: 'a 5432, ::1 7', user: 'u', password: 'p', database: 'db' }],
  ['postgres://u@a,b/db?port=7', { at: 'a 7, b 7', user: 'u', password: '', database: 'db' }],
  [
    'postgres:///db?host=/var/run/postgresql&user=u',
    { at: '/var/run/postgresql/.s.PGSQL.5432', user: 'u', password: '', database: 'db' },
  ],
  [
    'postgres://u@%2Fvar%2Frun%2Fpostgresql:7/db',
    { at: '/var/run/postgresql/.s.PGSQL.7', user: 'u', password: '', database: 'db' },
  ],
  [
    'postgres://u@/db',
    {
      at: '/var/run/postgresql/.s.PGSQL.5432, /tmp/.s.PGSQL.5432, localhost 5432',
      user: 'u',
      password: '',
      database: 'db',
    },
  ],
  [
    'postgres://?host=h&port=7&user=u&password=p%26&dbname=db',
    { at: 'h 7', user: 'u', password: 'p&', database: 'db' },
  ],
]

it.each(URLS)('%s', (url, expected) => {
  expect(meaning(url)).toEqual(expected)
})

describe('a password that is not encoded', () => {
  it.each(['p@q', 'p/q', '1/2', 'p%q', 'p@:/?#%', '@:/?#%', 'x/?#'])('%s', (password) => {
    const message = refusal(`postgres://u:${password}@h/db`)
    expect(message).toMatch(/percent-encoded/)
    expect(message).not.toContain('p@q')
  })
})

describe('refused, by name and with what to write instead', () => {
  it.each([
    ['postgres://u@h/db?pgbouncer=true', /pgbouncer .*DATABASE_POOLER=transaction/],
    ['postgres://u@h/db?connection_limit=5', /connection_limit/],
    ['postgres://u@h/db?statement_timeout=5000', /statement_timeout.*options=/],
    ['postgres://u@h/db?sslmode=on', /sslmode must be one of disable, allow/],
    ['postgres://u@h/db?gssencmode=require', /gssencmode/],
    ['postgres://u@h/db?require_auth=none', /require_auth/],
    ['postgres://u@h/db?target_session_attrs=standby', /target_session_attrs/],
    ['postgres://u@h/db?connect_timeout=soon', /connect_timeout/],
    ['postgres://u@h/db?sslmode=require&sslrootcert=system', /verify-full/],
    ['postgres://u@h/db?sslnegotiation=direct', /sslnegotiation/],
    ['postgres://u@h/db?ssl_min_protocol_version=SSLv3', /ssl_min_protocol_version/],
    ['postgres://u@h/db?replication=database', /replication/],
    ['postgres://u@h/db?service=mine', /service/],
    ['postgres://u@a,b/db?port=1,2,3', /port/],
    ['postgres://u@a,b/db?hostaddr=10.0.0.1', /hostaddr/],
    ['postgres://u@h:0/db', /port/],
    ['postgres://u@h:65536/db', /port/],
    ['postgres://u@h:port/db', /host/],
    ['postgres://u@[::1/db', /host/],
    ['postgres://u@::1/db', /host/],
    ['postgres://u@h/d%00b', /NUL/],
    ['postgres://u@h/d%zz', /hexadecimal/],
    ['postgres://u@h/db?sslmode', /name=value/],
    ['mysql://u@h/db', /must be a postgres:\/\/ URL/],
    ['host=h dbname=db', /must be a postgres:\/\/ URL/],
  ])('%s', (url, message) => {
    expect(refusal(url)).toMatch(message)
  })

  it('shows nothing that may be part of a password', () => {
    expect(refusal('postgres://h/db?sec!ret=1')).not.toContain('sec')
  })
})

it('leaves what concerns libpq alone', () => {
  const url =
    'postgres://u@h/db?channel_binding=require&gssencmode=disable&keepalives=1&keepalives_count=3&target_session_attrs=read-write' +
    '&connect_timeout=5&tcp_user_timeout=1000&client_encoding=auto&load_balance_hosts=random'
  expect(parseConnectionUrl(url)).toMatchObject({
    primary: true,
    connectTimeoutMs: 5000,
    keepAliveMs: 30_000,
  })
})

it('means keepalives, connect_timeout, options, application_name and hostaddr', () => {
  const parsed = parseConnectionUrl(
    'postgres://u@h/db?keepalives=0&connect_timeout=0&options=-c%20geqo%3Doff&application_name=shop&hostaddr=10.0.0.7',
  )
  expect(parsed).toMatchObject({
    keepAliveMs: 0,
    connectTimeoutMs: undefined,
    startupOptions: '-c geqo=off',
    name: 'shop',
    endpoints: [{ host: 'h', address: '10.0.0.7', port: 5432, path: undefined }],
  })
  expect(parseConnectionUrl('postgres://u@h/db?keepalives_idle=7').keepAliveMs).toBe(7000)
})

it('asks for a primary where several hosts could be one', () => {
  expect(parseConnectionUrl('postgres://u@h/db').primary).toBe(false)
  expect(parseConnectionUrl('postgres://u@a,b/db').primary).toBe(true)
  expect(parseConnectionUrl('postgres://u@h/db?target_session_attrs=any').primary).toBe(false)
})

it('reads the sslmodes, and what belongs to them', () => {
  const tls = (query: string) => parseConnectionUrl(`postgres://u@h/db?${query}`).tls
  expect(tls('').mode).toBe('prefer')
  for (const mode of ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full', 'no-verify'])
    expect(tls(`sslmode=${mode}`).mode).toBe(mode)
  expect(tls('ssl=true').mode).toBe('require')
  expect(tls('sslrootcert=system').mode).toBe('verify-full')
  expect(
    tls(
      'sslmode=verify-full&sslnegotiation=direct&sslrootcert=/ca&sslcert=/c&sslkey=/k&sslpassword=s&sslcrl=/r&sslsni=0&ssl_min_protocol_version=tlsv1.3',
    ),
  ).toEqual({
    mode: 'verify-full',
    direct: true,
    rootCert: '/ca',
    cert: '/c',
    key: '/k',
    keyPassword: 's',
    crl: '/r',
    sendsName: false,
    minVersion: 'TLSv1.3',
    maxVersion: undefined,
  })
})

it("takes what the URL leaves out from libpq's variables", () => {
  const environment = { PGPASSWORD: 'secret', PGSSLMODE: 'require', PGHOST: 'elsewhere', PGPORT: '7' }
  expect(meaning('postgres://u@h/db', environment)).toMatchObject({ at: 'h 7', password: 'secret' })
  expect(meaning('postgres://u:p@/db', environment)).toMatchObject({ at: 'elsewhere 7', password: 'p' })
  expect(parseConnectionUrl('postgres://u@h/db', environment).tls.mode).toBe('require')
  expect(parseConnectionUrl('postgres://u@h/db?sslmode=disable', environment).tls.mode).toBe('disable')
  expect(refusal('postgres://u@h/db', { PGSSLMODE: 'perhaps' })).toMatch(/sslmode/)
})
