import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { type Config, parseConfig } from '../src/config.ts'

function config(environment: Record<string, string> = {}): Config {
  const parsed = parseConfig(environment)
  if (!parsed.ok) throw new Error(parsed.problems.join('; '))
  return parsed.config
}

function problems(environment: Record<string, string>): readonly string[] {
  const parsed = parseConfig(environment)
  return parsed.ok ? [] : parsed.problems
}

/** Whole numbers: variable, where it ends up, and the least and the greatest it may be. */
const NUMBERS: readonly [string, (config: Config) => unknown, number, number][] = [
  ['MAX_CONNECTIONS_PER_ADDRESS', (c) => c.maxConnectionsPerAddress, 1, 10_000_000],
  ['HEADER_MAX_BYTES', (c) => c.headerMaxBytes, 1024, 1_048_576],
  ['URL_MAX_BYTES', (c) => c.urlMaxBytes, 256, 1_048_576],
  ['BODY_MAX_BYTES', (c) => c.bodyMaxBytes, 256, 1_048_576],
  ['KEEP_ALIVE_TIMEOUT_MS', (c) => c.keepAliveTimeoutMs, 100, 3_600_000],
  ['MAX_EVENT_LOOP_DELAY_MS', (c) => c.maxEventLoopDelayMs, 50, 60_000],
  ['MAX_HEAP_PERCENT', (c) => c.maxHeapPercent, 10, 100],
  ['ANSWER_TIMEOUT_MS', (c) => c.answerTimeoutMs, 100, 3_600_000],
  ['MAX_UNSENT_BYTES', (c) => c.unsent.total, 1_048_576, 1_099_511_627_776],
  ['MAX_UNSENT_BYTES_PER_ADDRESS', (c) => c.unsent.perAddress, 1_048_576, 1_099_511_627_776],
  ['MAX_UNSENT_BYTES_PER_USER', (c) => c.unsent.perUser, 1_048_576, 1_099_511_627_776],
  ['MESSAGE_MAX_BYTES', (c) => c.messageMaxBytes, 256, 1_048_576],
  ['MESSAGES_PER_MINUTE', (c) => c.messagesPerMinute, 6, 1_000_000],
  ['MAX_WAITING_WRITES', (c) => c.maxWaitingWrites, 1, 1_000_000],
  ['MAX_WAITING_REQUESTS', (c) => c.maxWaitingRequests, 1, 1_000_000],
  ['TRUST_PROXY', (c) => c.trustProxy, 0, 16],
  ['USER_REQUESTS_PER_MINUTE', (c) => c.rates?.user_requests, 1, 100_000_000],
  ['USER_CONNECTS_PER_MINUTE', (c) => c.rates?.user_connects, 1, 100_000_000],
  ['ADDRESS_REQUESTS_PER_MINUTE', (c) => c.rates?.address_requests, 1, 100_000_000],
  ['JWT_CLOCK_TOLERANCE_S', (c) => c.auth.clockToleranceS, 0, 300],
  ['STORIES_PER_DAY', (c) => c.rates?.user_stories, 1, 100_000_000],
  ['REACTION_CHANGES_PER_DAY', (c) => c.rates?.reaction_changes, 1, 100_000_000],
  ['MAX_TICKETS_PER_USER', (c) => c.maxTicketsPerUser, 1, 1_000_000],
  ['ADDRESS_CONNECTS_PER_MINUTE', (c) => c.rates?.address_connects, 1, 100_000_000],
]

describe.each(NUMBERS)('%s', (name, read, least, greatest) => {
  it('is taken, and anything but a whole number in its range is a problem that names it', () => {
    expect(read(config({ [name]: String(least) }))).toBe(least)
    expect(read(config({ [name]: String(greatest) }))).toBe(greatest)
    for (const wrong of [String(greatest + 1), String(least - 1), '1.5', '1e3', 'many'])
      expect(problems({ [name]: wrong })).toEqual([expect.stringMatching(new RegExp(`^${name}: must be `))])
  })
})

describe('NATS', () => {
  const url = 'nats://127.0.0.1'

  it('is not used unless BUS_URL names it', () => {
    expect(config({ BUS_RELAY: 'on', BUS_NAMESPACE: 'x' }).bus).toBeUndefined()
  })

  it('is found by one URL, or one for each server, with user and password decoded', () => {
    expect(config({ BUS_URL: url }).bus).toEqual({
      servers: {
        servers: ['127.0.0.1:4222'],
        tls: false,
        user: undefined,
        password: undefined,
        ca: undefined,
        credentials: undefined,
      },
      namespace: 'glimpse',
      relay: true,
      lingerMs: 10,
    })
    const bus = config({
      BUS_URL: 'tls://ann:p%40ss@a.example, tls://ann:p%40ss@[2001:db8::1]:4333',
      BUS_NAMESPACE: 'shop_1',
      BUS_RELAY: 'off',
      BUS_LINGER_MS: '0',
      NODE_ENV: 'test',
    }).bus
    expect(bus?.servers).toMatchObject({
      servers: ['a.example:4222', '[2001:db8::1]:4333'],
      tls: true,
      user: 'ann',
      password: 'p@ss',
    })
    expect(bus).toMatchObject({ namespace: 'shop_1', relay: false, lingerMs: 0 })
  })

  it.each([
    ['http://127.0.0.1', /must be a nats:\/\/ or tls:\/\/ URL/],
    ['nats://', /must be a nats|must name a host/],
    ['127.0.0.1:4222', /must be a nats/],
    ['nats://a.example,tls://b.example', /must be nats:\/\/ or all tls:\/\//],
    ['nats://ann:x@a.example,nats://bob:x@b.example', /the same user and password/],
    ['nats://a.example/path', /must end after host and port/],
    ['nats://a.example?tls=1', /must end after host and port/],
    ['nats://an%n:secret-of-ann@a.example', /must be percent-encoded/],
    ['nats://a.example,', /must be a nats/],
  ])('refuses %s, by name and without repeating it', (BUS_URL, problem) => {
    const [found, ...more] = problems({ BUS_URL })
    expect(more).toEqual([])
    expect(found).toMatch(/^BUS_URL: /)
    expect(found).toMatch(problem)
    expect(found).not.toContain('secret-of-ann')
  })

  it.each([
    [{ BUS_NAMESPACE: 'a.b' }, /^BUS_NAMESPACE: must be 1 to 64 letters/],
    [{ BUS_NAMESPACE: 'a>' }, /^BUS_NAMESPACE: must be 1 to 64 letters/],
    [{ BUS_RELAY: 'yes' }, /^BUS_RELAY: must be on or off/],
    [{ BUS_LINGER_MS: '1001' }, /^BUS_LINGER_MS: must be a whole number from 0 to 1000/],
    [{ BUS_CA: '/nowhere/ca.pem' }, /^BUS_CA: the file cannot be read \(ENOENT\)/],
    [{ BUS_CREDENTIALS: '/nowhere/x.creds' }, /^BUS_CREDENTIALS: the file cannot be read \(ENOENT\)/],
  ])('refuses %j', (environment: Record<string, string>, problem) => {
    expect(problems({ BUS_URL: url, ...environment })).toEqual([expect.stringMatching(problem)])
  })

  it('reads the certificate authority and the credentials from files', () => {
    const folder = mkdtempSync(join(tmpdir(), 'glimpse-config-'))
    try {
      const [BUS_CA, BUS_CREDENTIALS] = [join(folder, 'ca.pem'), join(folder, 'creds')]
      writeFileSync(BUS_CA, 'the authority\n')
      expect(problems({ BUS_URL: url, BUS_CA })).toEqual([
        'BUS_CA: the file holds no certificate in PEM form',
      ])
      writeFileSync(BUS_CA, '-----BEGIN CERTIFICATE-----\n')
      writeFileSync(BUS_CREDENTIALS, 'the seed\n')
      expect(config({ BUS_URL: url, BUS_CA, BUS_CREDENTIALS }).bus?.servers).toMatchObject({
        ca: '-----BEGIN CERTIFICATE-----',
        credentials: 'the seed',
      })
      expect(problems({ BUS_CA, BUS_CREDENTIALS })).toEqual([
        'BUS_CREDENTIALS: set without BUS_URL',
        'BUS_CA: set without BUS_URL',
      ])
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it('is encrypted in production, unless it is on this machine', () => {
    const production = {
      NODE_ENV: 'production',
      JWT_SECRET: 'a-secret-of-thirty-two-bytes-or-so',
      DATABASE_URL: 'postgres://u:p-w@db.example/x',
    }
    for (const BUS_URL of [
      'tls://nats.example',
      url,
      'nats://[::1]:4222',
      'nats://localhost,nats://127.0.0.2',
    ])
      expect(problems({ ...production, BUS_URL })).toEqual([])
    for (const BUS_URL of ['nats://nats.example', 'nats://127.0.0.1,nats://nats.example'])
      expect(problems({ ...production, BUS_URL })).toEqual([
        expect.stringMatching(/^BUS_URL: with NODE_ENV=production it must be tls:\/\//),
      ])
  })
})

describe.each([
  ['RATE_LIMIT', (c: Config) => c.rates !== undefined],
  ['TOKEN_IN_URL', (c: Config) => c.tokenInUrl],
] as const)('%s', (name, read) => {
  it('is on or off', () => {
    expect([read(config()), read(config({ [name]: 'on' })), read(config({ [name]: 'off' }))]).toEqual([
      true,
      true,
      false,
    ])
    expect(problems({ [name]: 'maybe' })).toEqual([`${name}: must be on or off`])
  })
})

describe('ADMIN_PORT and PAGES', () => {
  it('are by default one port, and pages except in production', () => {
    expect([config().adminPort, config().pages]).toEqual([undefined, true])
    const production = {
      NODE_ENV: 'production',
      DATABASE_URL: 'postgres://db/glimpse',
      JWT_SECRET: 's'.repeat(32),
    }
    expect(config(production).pages).toBe(false)
    expect(config({ ...production, PAGES: 'on' }).pages).toBe(true)
    expect(config({ PAGES: 'off', ADMIN_PORT: '9090' })).toMatchObject({ pages: false, adminPort: 9090 })
  })

  it('are held to what they may be', () => {
    expect(problems({ PAGES: 'yes' })).toEqual(['PAGES: must be on or off'])
    expect(problems({ ADMIN_PORT: '65536' })).toEqual([
      expect.stringMatching(/^ADMIN_PORT: must be a whole number/),
    ])
    expect(problems({ ADMIN_PORT: '8080' })).toEqual([
      'ADMIN_PORT: must not be PORT, which is 8080 where it is not set',
    ])
    expect(problems({ ADMIN_PORT: '0', PORT: '0' })).toEqual([])
  })
})

describe('whose tokens are taken', () => {
  const SECRET = 's'.repeat(32)

  it('is by default nobody but who has the development secret', () => {
    expect(config().auth).toEqual({
      secrets: [],
      jwksUrls: [],
      issuers: [],
      audiences: [],
      userClaim: 'sub',
      clockToleranceS: 5,
    })
  })

  it('can be said by secrets, key sets and lists together', () => {
    const { auth } = config({
      JWT_SECRET: SECRET,
      JWT_SECRET_PREVIOUS: SECRET.toUpperCase(),
      JWKS_URL: 'https://a.example/keys, http://b.example/keys?x=1',
      JWT_ISSUER: 'https://accounts.google.com,accounts.google.com',
      JWT_AUDIENCE: 'glimpse',
      JWT_USER_CLAIM: 'https://claims.example/user',
      JWT_CLOCK_TOLERANCE_S: '0',
    })
    expect(auth).toEqual({
      secrets: [SECRET, SECRET.toUpperCase()],
      jwksUrls: ['https://a.example/keys', 'http://b.example/keys?x=1'],
      issuers: ['https://accounts.google.com', 'accounts.google.com'],
      audiences: ['glimpse'],
      userClaim: 'https://claims.example/user',
      clockToleranceS: 0,
    })
  })

  it.each([
    ['JWT_SECRET', 'x'.repeat(31)],
    ['JWT_SECRET_PREVIOUS', 'x'.repeat(31)],
    ['JWKS_URL', 'ftp://a.example'],
    ['JWKS_URL', 'https://a.example,'],
    ['JWKS_URL', 'https://a.example,b'],
    ['JWT_ISSUER', 'a,,b'],
    ['JWT_AUDIENCE', ' , '],
    ['JWT_USER_CLAIM', 'a"b'],
    ['JWT_USER_CLAIM', 'a b'],
    ['JWT_USER_CLAIM', 'exp'],
  ])('%s may not be %j', (name, value) => {
    const found = problems({ JWT_SECRET: SECRET, [name]: value })
    expect(found).toEqual([expect.stringMatching(new RegExp(`^${name}: must be `))])
    expect(found[0]).not.toContain(value)
  })

  it('needs the secret that follows a previous one', () => {
    expect(problems({ JWT_SECRET_PREVIOUS: SECRET })).toEqual(['JWT_SECRET_PREVIOUS: set without JWT_SECRET'])
  })
})

describe('DEV_HOSTS', () => {
  it('is a list of hosts without ports', () => {
    expect(config().devHosts).toEqual([])
    expect(config({ DEV_HOSTS: 'Dev.example, 192.0.2.7,[2001:db8::1]' }).devHosts).toEqual([
      'dev.example',
      '192.0.2.7',
      '[2001:db8::1]',
    ])
    for (const wrong of ['https://dev.example', 'dev.example:8080', '*.example', 'a/b', ',', '2001:db8::1'])
      expect(problems({ DEV_HOSTS: wrong })).toEqual([expect.stringMatching(/^DEV_HOSTS: must be /)])
  })
})

describe('HEADERS_TIMEOUT_MS and REQUEST_TIMEOUT_MS', () => {
  it('are taken, the latter no less than the former', () => {
    const given = config({ HEADERS_TIMEOUT_MS: '100', REQUEST_TIMEOUT_MS: '100' })
    expect([given.headersTimeoutMs, given.requestTimeoutMs]).toEqual([100, 100])
    expect(problems({ REQUEST_TIMEOUT_MS: '99' })).toEqual([
      expect.stringMatching(/^REQUEST_TIMEOUT_MS: must be /),
    ])
    expect(problems({ REQUEST_TIMEOUT_MS: '200', HEADERS_TIMEOUT_MS: '201' })).toEqual([
      expect.stringMatching(/^HEADERS_TIMEOUT_MS: must not be greater than REQUEST_TIMEOUT_MS/),
    ])
  })

  it('and two ports that are one, are told of together with what else is wrong', () => {
    const wrong = { HEADERS_TIMEOUT_MS: '50000', PORT: '81', ADMIN_PORT: '81', RATE_LIMIT: 'maybe' }
    expect(problems(wrong)).toEqual([
      expect.stringMatching(/^RATE_LIMIT: /),
      expect.stringMatching(/^HEADERS_TIMEOUT_MS: must not/),
      'ADMIN_PORT: must not be PORT',
    ])
  })
})

describe('DATABASE_URL, LISTEN_DATABASE_URL and DATABASE_POOLER', () => {
  it('are read by the rules of libpq, and problems name the variable', () => {
    const given = config({ DATABASE_URL: 'postgres://u:p@[::1]:7/my%20db', PGSSLMODE: 'require' })
    expect(given.database).toMatchObject({ database: 'my db', endpoints: [{ host: '::1', port: 7 }] })
    expect(given.database?.tls.mode).toBe('require')
    expect(problems({ DATABASE_URL: 'postgres://u@h/db?pgbouncer=true' })).toEqual([
      'DATABASE_URL: the parameter pgbouncer is not taken: set DATABASE_POOLER=transaction instead',
    ])
    expect(problems({ DATABASE_URL: 'postgres://u@h/db', LISTEN_DATABASE_URL: 'h' })).toEqual([
      expect.stringMatching(/^LISTEN_DATABASE_URL: must be a postgres:\/\/ URL/),
    ])
  })

  it('leave the embedded default alone, whatever PG variables are set', () => {
    expect(config({ PGSSLMODE: 'require', PGHOST: 'h', PGPORT: 'none' }).database).toBeUndefined()
  })

  it('need a direct way behind a transaction pooler', () => {
    const pooled = { DATABASE_URL: 'postgres://u@pooler/db', DATABASE_POOLER: 'transaction' }
    expect(problems(pooled)).toEqual([expect.stringMatching(/^DATABASE_POOLER, LISTEN_DATABASE_URL: /)])
    expect(config({ ...pooled, LISTEN_DATABASE_URL: 'postgres://u@h/db' }).databasePooler).toBe('transaction')
    expect(config().databasePooler).toBe('none')
    expect(problems({ DATABASE_POOLER: 'session' })).toEqual(['DATABASE_POOLER: must be none or transaction'])
  })
})

describe('CORS_ORIGINS', () => {
  const parse = (text: string) => parseConfig({ CORS_ORIGINS: text })

  it.each([
    'https://app.example',
    'http://localhost:5173',
    'capacitor://localhost',
    'ionic://localhost',
    'tauri://localhost',
    'app://obsidian.md',
    'chrome-extension://mlhmbdjbgkjcjfgjlmogfcbkfnkadjfa',
    'moz-extension://0b4e8e2d-32f5-4f0e-9f2c-0f6a2ad3f5c1',
  ])('takes %s', (origin) => {
    const parsed = parse(`${origin}, https://other.example`)
    expect(parsed.ok && parsed.config.corsOrigins).toEqual([origin, 'https://other.example'])
  })

  it.each([
    'null',
    '*',
    'https://*.example',
    'https://app.example/',
    'capacitor://localhost/a',
    'capacitor://',
    'ftp://host',
    'javascript://x',
  ])('refuses %s', (text) => {
    const parsed = parse(text)
    expect(parsed.ok ? [] : parsed.problems).toEqual([expect.stringMatching(/^CORS_ORIGINS: /)])
  })
})

describe('for a relay', () => {
  const problems = (environment: Record<string, string>) => {
    const parsed = parseConfig({ NODE_ENV: 'production', ...environment }, 'relay')
    return parsed.ok ? [] : parsed.problems
  }
  const DATABASE_URL = 'postgres://u@127.0.0.1/d'

  it('no key is needed, and one of the two ways to the database', () => {
    expect(problems({ DATABASE_URL })).toEqual([])
    expect(problems({ LISTEN_DATABASE_URL: DATABASE_URL })).toEqual([])
    expect(problems({})).toEqual([expect.stringMatching(/^DATABASE_URL: with NODE_ENV=production it must/)])
  })

  it('ADMIN_PORT may be the port that an instance has by default, but not PORT', () => {
    expect(problems({ DATABASE_URL, ADMIN_PORT: '8080' })).toEqual([])
    expect(problems({ DATABASE_URL, ADMIN_PORT: '8080', PORT: '8080' })).toEqual([
      'ADMIN_PORT: must not be PORT',
    ])
  })
})
