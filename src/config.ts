import { z } from 'zod'
import type { NatsServers } from './bus/nats-link.ts'
import { NatsUrlError, parseNatsUrls } from './bus/nats-url.ts'
import { type ConnectionOptions, ConnectionUrlError, parseConnectionUrl } from './postgres/connection-url.ts'
import { readSecret, readSecretFiles, SAMPLE_PASSWORDS, SAMPLE_SECRETS, SECRETS } from './secrets.ts'

/** The whole configuration, parsed once from the environment. Times are milliseconds where the name says Ms. */
export interface Config {
  readonly production: boolean
  readonly host: string
  /** 0 asks for any free port. */
  readonly port: number
  /** The port of health and metrics; undefined: `port`. 0 asks for any free port. */
  readonly adminPort: number | undefined
  /** Whether the console and the documents are served. */
  readonly pages: boolean
  /** Absent: an embedded Postgres in `dataDir`. */
  readonly database: ConnectionOptions | undefined
  /** Absent: `database`. A direct connection where that one goes through a transaction pooler. */
  readonly listenDatabase: ConnectionOptions | undefined
  /** The pooler in front of `database`; `listenDatabase` is always direct. */
  readonly databasePooler: 'none' | 'transaction'
  /** NATS, by which an instance hears of its own users alone. Absent: Postgres' LISTEN. */
  readonly bus:
    | {
        readonly servers: NatsServers
        /** One for each database that shares the servers. */
        readonly namespace: string
        /** Whether this instance may be the one that relays from Postgres to NATS. */
        readonly relay: boolean
        readonly lingerMs: number
      }
    | undefined
  readonly migrate: boolean
  readonly dataDir: string
  readonly auth: {
    /** HS256: all of them verify; the first signs development tokens. */
    readonly secrets: readonly string[]
    readonly jwksUrls: readonly string[]
    /** The accepted `iss`; not checked if empty. The same for `audiences` and `aud`. */
    readonly issuers: readonly string[]
    readonly audiences: readonly string[]
    readonly userClaim: string
    readonly clockToleranceS: number
  }
  /** Host names besides the loopback for which POST /dev/tokens answers; an IPv6 address is written `[::1]`. */
  readonly devHosts: readonly string[]
  /** Whether POST /dev/tokens exists: outside production, on a loopback HOST or with DEV_TOKENS=on. */
  readonly devTokens: boolean
  /** Whether streams accept `?token=`; they always accept `?ticket=`. */
  readonly tokenInUrl: boolean
  /** Exact origins, as browsers write them: `https://app.example`. */
  readonly corsOrigins: readonly string[]
  readonly maxConnections: number
  readonly maxConnectionsPerUser: number
  readonly maxConnectionsPerAddress: number
  /** The number of trusted proxies in front: that many entries of `X-Forwarded-For`, from its end, are trusted. */
  readonly trustProxy: number
  /**
   * Requests and connects per minute, by user and by address; stories of a user per day, and changes of a user's reaction to
   * one story per day. Undefined: no rate limits.
   */
  readonly rates:
    | Readonly<
        Record<
          | 'user_requests'
          | 'user_connects'
          | 'address_requests'
          | 'address_connects'
          | 'user_stories'
          | 'reaction_changes',
          number
        >
      >
    | undefined
  /** Tickets that a user may have open at once, on all instances. */
  readonly maxTicketsPerUser: number
  readonly headerMaxBytes: number
  readonly urlMaxBytes: number
  readonly bodyMaxBytes: number
  readonly headersTimeoutMs: number
  readonly requestTimeoutMs: number
  readonly keepAliveTimeoutMs: number
  /** The highest average delay of the event loop; above it new work is refused. */
  readonly maxEventLoopDelayMs: number
  /** Percent of V8's heap limit; above it new streams are refused. */
  readonly maxHeapPercent: number
  /** How long a client may take to read an answer. */
  readonly answerTimeoutMs: number
  /** Bytes of answers that clients have not read yet; past its share a user or an address is refused. */
  readonly unsent: { readonly total: number; readonly perUser: number; readonly perAddress: number }
  /** The largest WebSocket message a client may send. */
  readonly messageMaxBytes: number
  /** Messages, pings and unsolicited pongs of a WebSocket client. */
  readonly messagesPerMinute: number
  /** The most views that wait to be written; the same for reactions and read marks. */
  readonly maxWaitingWrites: number
  /** The most other requests that wait for Postgres. */
  readonly maxWaitingRequests: number
  readonly heartbeatIntervalMs: number
  readonly stallTimeoutMs: number
  readonly drainTimeoutMs: number
  /** Unsent bytes of a connection; above it events are no longer pushed to it. */
  readonly outboxMaxBytes: number
  readonly eventRetentionHours: number
  readonly logLevel: 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace' | 'silent'
}

export type ConfigResult =
  | { readonly ok: true; readonly config: Config }
  | { readonly ok: false; readonly faults: readonly string[] }

const between = (min: number, max: number) =>
  z
    .string()
    .regex(/^\d{1,15}$/, `must be a whole number from ${min} to ${max}`)
    .transform(Number)
    .refine((n) => n >= min && n <= max, `must be a whole number from ${min} to ${max}`)

const whole = (min: number, max: number, fallback: number) => between(min, max).default(fallback)

const port = between(0, 65_535)

/**
 * Schemes of apps in a web view and of extensions. Browsers write their origins as scheme and host, though the URL standard
 * gives them none.
 */
const APP_ORIGIN =
  /^(?:capacitor|ionic|tauri|app|chrome-extension|moz-extension|safari-web-extension|ms-browser-extension):\/\/[a-z0-9.-]+(?::\d{1,5})?$/i

function isOrigin(text: string): boolean {
  if (APP_ORIGIN.test(text)) return true
  // The URL parser accepts an asterisk in a host.
  return /^https?:[^*]+$/.test(text) && URL.canParse(text) && new URL(text).origin === text
}

const origins = z
  .string()
  .transform((text) => text.split(',').map((part) => part.trim()))
  .refine(
    (list) => list.every(isOrigin),
    'must be a comma-separated list of origins such as https://app.example or capacitor://localhost (scheme and host, no path, no *)',
  )

const secret = z
  .string()
  .refine((text) => Buffer.byteLength(text) >= 32, 'must be at least 32 bytes long (RFC 7518 §3.2)')

const list = z
  .string()
  .transform((text) => text.split(',').map((part) => part.trim()))
  .refine((parts) => !parts.includes(''), {
    error: 'must be one value, or several with commas between',
    abort: true,
  })

const urls = list.refine(
  (parts) => parts.every((text) => URL.canParse(text) && /^https?:$/.test(new URL(text).protocol)),
  'must be an http(s) URL, or several with commas between',
)

/** Claims with another meaning (RFC 7519 §4.1). */
const OTHER_CLAIMS: ReadonlySet<string> = new Set(['iss', 'aud', 'exp', 'nbf', 'iat'])

function isLoopback(host: string): boolean {
  return /^(?:localhost|127(?:\.\d{1,3}){3}|::1)$/i.test(host)
}

const hosts = z
  .string()
  .transform((text) => text.split(',').map((part) => part.trim().toLowerCase()))
  .refine(
    // The URL parser accepts an asterisk in a host.
    (list) =>
      list.every(
        (host) =>
          URL.canParse(`http://${host}`) &&
          new URL(`http://${host}`).hostname === host &&
          !host.includes('*'),
      ),
    'must be a comma-separated list of host names such as dev.example (no scheme, no port, no *)',
  )

const Environment = z.object({
  NODE_ENV: z.string().optional(),
  HOST: z.string().default('127.0.0.1'),
  PORT: whole(0, 65_535, 8080),
  ADMIN_PORT: port.optional(),
  PAGES: z.enum(['on', 'off'], 'must be on or off').optional(),
  DATABASE_URL: z.string().optional(),
  LISTEN_DATABASE_URL: z.string().optional(),
  DATABASE_POOLER: z.enum(['none', 'transaction'], 'must be none or transaction').default('none'),
  BUS_URL: z.string().optional(),
  BUS_CREDENTIALS: z.string().optional(),
  BUS_CA: z.string().optional(),
  BUS_NAMESPACE: z
    .string()
    // It begins every subject, whose parts dots divide.
    .regex(/^[A-Za-z0-9_-]{1,64}$/, 'must be 1 to 64 letters, digits, _ and -')
    .default('glimpse'),
  BUS_RELAY: z.enum(['on', 'off'], 'must be on or off').default('on'),
  BUS_LINGER_MS: whole(0, 1000, 10),
  MIGRATE: z.enum(['on', 'off'], 'must be on or off').default('on'),
  DATA_DIR: z.string().default('.glimpse'),
  JWT_SECRET: secret.optional(),
  JWT_SECRET_PREVIOUS: secret.optional(),
  JWKS_URL: urls.default([]),
  JWT_ISSUER: list.default([]),
  JWT_AUDIENCE: list.default([]),
  JWT_USER_CLAIM: z
    .string()
    // Its name is in answers and in their WWW-Authenticate header, where RFC 6750 §3 allows only these characters.
    .regex(/^[!#-[\]-~]{1,200}$/, 'must be the name of a claim: printable ASCII without blanks and quotes')
    .refine((claim) => !OTHER_CLAIMS.has(claim), 'must be a claim that names a user')
    .default('sub'),
  JWT_CLOCK_TOLERANCE_S: whole(0, 300, 5),
  DEV_HOSTS: hosts.default([]),
  DEV_TOKENS: z.enum(['on', 'off'], 'must be on or off').optional(),
  TOKEN_IN_URL: z.enum(['on', 'off'], 'must be on or off').default('on'),
  CORS_ORIGINS: origins.default([]),
  MAX_CONNECTIONS: whole(1, 10_000_000, 50_000),
  MAX_CONNECTIONS_PER_USER: whole(1, 100_000, 10),
  MAX_CONNECTIONS_PER_ADDRESS: whole(1, 10_000_000, 25_000),
  TRUST_PROXY: whole(0, 16, 0),
  RATE_LIMIT: z.enum(['on', 'off'], 'must be on or off').default('on'),
  USER_REQUESTS_PER_MINUTE: whole(1, 100_000_000, 6000),
  USER_CONNECTS_PER_MINUTE: whole(1, 100_000_000, 300),
  ADDRESS_REQUESTS_PER_MINUTE: whole(1, 100_000_000, 120_000),
  ADDRESS_CONNECTS_PER_MINUTE: whole(1, 100_000_000, 120_000),
  STORIES_PER_DAY: whole(1, 100_000_000, 10_000),
  REACTION_CHANGES_PER_DAY: whole(1, 100_000_000, 1000),
  MAX_TICKETS_PER_USER: whole(1, 1_000_000, 100),
  HEADER_MAX_BYTES: whole(1024, 1_048_576, 16_384),
  URL_MAX_BYTES: whole(256, 1_048_576, 10_240),
  BODY_MAX_BYTES: whole(256, 1_048_576, 16_384),
  HEADERS_TIMEOUT_MS: whole(100, 3_600_000, 15_000),
  REQUEST_TIMEOUT_MS: whole(100, 3_600_000, 30_000),
  // Longer than common load balancers keep an idle connection: we must not be the side that closes first.
  KEEP_ALIVE_TIMEOUT_MS: whole(100, 3_600_000, 75_000),
  MAX_EVENT_LOOP_DELAY_MS: whole(50, 60_000, 500),
  MAX_HEAP_PERCENT: whole(10, 100, 85),
  ANSWER_TIMEOUT_MS: whole(100, 3_600_000, 60_000),
  MAX_UNSENT_BYTES: whole(1_048_576, 1_099_511_627_776, 67_108_864),
  MAX_UNSENT_BYTES_PER_ADDRESS: whole(1_048_576, 1_099_511_627_776, 33_554_432),
  MAX_UNSENT_BYTES_PER_USER: whole(1_048_576, 1_099_511_627_776, 8_388_608),
  // Large enough for every token that fits into a request's head, so that it can renew a stream.
  MESSAGE_MAX_BYTES: whole(256, 1_048_576, 16_384),
  MESSAGES_PER_MINUTE: whole(6, 1_000_000, 240),
  MAX_WAITING_WRITES: whole(1, 1_000_000, 20_000),
  MAX_WAITING_REQUESTS: whole(1, 1_000_000, 5000),
  HEARTBEAT_INTERVAL_MS: whole(50, 3_600_000, 15_000),
  STALL_TIMEOUT_MS: whole(100, 86_400_000, 60_000),
  DRAIN_TIMEOUT_MS: whole(0, 3_600_000, 10_000),
  OUTBOX_MAX_BYTES: whole(1024, 1_073_741_824, 65_536),
  EVENT_RETENTION_HOURS: whole(1, 1_000_000, 168),
  LOG_LEVEL: z
    .enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'], {
      error: 'must be one of fatal, error, warn, info, debug, trace, silent',
    })
    .default('info'),
})

/** The name of every variable. */
export const VARIABLES: readonly string[] = [
  ...Object.keys(Environment.shape),
  ...SECRETS.map((name) => `${name}_FILE`),
]

/**
 * Parses the environment. It reports all problems at once, each as `NAME: what is wrong`, so that an operator can fix them in
 * one round. Values are never repeated, because they may be secrets. An empty variable counts as unset, because shells and
 * compose files write unset variables so. Files of NAME_FILE variables are read once, now.
 */
export function parseConfig(environment: Readonly<Record<string, string | undefined>>): ConfigResult {
  const { environment: withSecrets, fromFile, faults: unreadable } = readSecretFiles(environment)
  const given = Object.fromEntries(Object.entries(withSecrets).filter(([, value]) => value !== ''))
  /** The variable as the operator wrote it. */
  const named = (name: string) => (fromFile.has(name) ? `${name}_FILE` : name)
  const isGiven = (name: string) => given[name] !== undefined || fromFile.has(name)
  const parsed = Environment.safeParse(given)
  const faults = [...unreadable]
  if (!parsed.success)
    for (const { path, message } of parsed.error.issues) faults.push(`${named(path.join('.'))}: ${message}`)

  const connection = (name: 'DATABASE_URL' | 'LISTEN_DATABASE_URL') => {
    try {
      return given[name] === undefined ? undefined : parseConnectionUrl(given[name], given)
    } catch (error) {
      if (!(error instanceof ConnectionUrlError)) throw error
      faults.push(`${named(name)}: ${error.message}`)
      return undefined
    }
  }
  const database = connection('DATABASE_URL')
  const listenDatabase = connection('LISTEN_DATABASE_URL')
  const natsServers = () => {
    const file = (name: 'BUS_CREDENTIALS' | 'BUS_CA') => {
      try {
        return given[name] === undefined ? undefined : readSecret(given[name])
      } catch (error) {
        const { code, message } = error as NodeJS.ErrnoException
        faults.push(`${name}: ${code === undefined ? message : `the file cannot be read (${code})`}`)
        return undefined
      }
    }
    if (given.BUS_URL === undefined) {
      for (const name of ['BUS_CREDENTIALS', 'BUS_CA'])
        if (isGiven(name)) faults.push(`${name}: set without BUS_URL`)
      return undefined
    }
    try {
      const { loopback, ...servers } = parseNatsUrls(given.BUS_URL)
      if (given.NODE_ENV === 'production' && !servers.tls && !loopback)
        faults.push(
          `${named('BUS_URL')}: with NODE_ENV=production it must be tls://, or on this machine; who can read or forge ` +
            'messages on the way could read or forge events',
        )
      return { ...servers, ca: file('BUS_CA'), credentials: file('BUS_CREDENTIALS') }
    } catch (error) {
      if (!(error instanceof NatsUrlError)) throw error
      faults.push(`${named('BUS_URL')}: ${error.message}`)
      return undefined
    }
  }
  const bus = natsServers()
  if (given.DATABASE_POOLER === 'transaction' && !isGiven('LISTEN_DATABASE_URL'))
    faults.push(
      'DATABASE_POOLER, LISTEN_DATABASE_URL: behind a transaction pooler LISTEN needs a direct way to Postgres; ' +
        'set LISTEN_DATABASE_URL',
    )
  if (isGiven('JWT_SECRET_PREVIOUS') && !isGiven('JWT_SECRET'))
    faults.push('JWT_SECRET_PREVIOUS: set without JWT_SECRET')
  if (given.NODE_ENV === 'production') {
    if (!isGiven('JWT_SECRET') && !isGiven('JWKS_URL'))
      faults.push('JWT_SECRET, JWKS_URL: with NODE_ENV=production at least one of the two must be set')
    if (!isGiven('DATABASE_URL'))
      faults.push(
        'DATABASE_URL: with NODE_ENV=production it must be set (the embedded Postgres is for development)',
      )
    for (const name of ['JWT_SECRET', 'JWT_SECRET_PREVIOUS'])
      if (SAMPLE_SECRETS.has(given[name] ?? ''))
        faults.push(`${named(name)}: must not be the sample of .env.example, which everybody can read`)
    if (database !== undefined && SAMPLE_PASSWORDS.has(database.password))
      faults.push(
        `${named('DATABASE_URL')}: its password must not be that of a sample, which everybody can read`,
      )
  }
  if (parsed.success && parsed.data.HEADERS_TIMEOUT_MS > parsed.data.REQUEST_TIMEOUT_MS)
    faults.push(
      'HEADERS_TIMEOUT_MS: must not be greater than REQUEST_TIMEOUT_MS, which spans headers and body',
    )
  if (parsed.success && parsed.data.ADMIN_PORT === parsed.data.PORT && parsed.data.PORT !== 0)
    faults.push('ADMIN_PORT: must not be PORT')
  if (isGiven('LISTEN_DATABASE_URL') && !isGiven('DATABASE_URL'))
    faults.push('LISTEN_DATABASE_URL: set without DATABASE_URL')
  if (!parsed.success || faults.length > 0) return { ok: false, faults }

  const env = parsed.data
  return {
    ok: true,
    config: {
      production: env.NODE_ENV === 'production',
      host: env.HOST,
      port: env.PORT,
      adminPort: env.ADMIN_PORT,
      pages: env.PAGES === undefined ? env.NODE_ENV !== 'production' : env.PAGES === 'on',
      database,
      listenDatabase,
      databasePooler: env.DATABASE_POOLER,
      bus: bus && {
        servers: bus,
        namespace: env.BUS_NAMESPACE,
        relay: env.BUS_RELAY === 'on',
        lingerMs: env.BUS_LINGER_MS,
      },
      migrate: env.MIGRATE === 'on',
      dataDir: env.DATA_DIR,
      auth: {
        secrets: [env.JWT_SECRET, env.JWT_SECRET_PREVIOUS].filter((text) => text !== undefined),
        jwksUrls: env.JWKS_URL,
        issuers: env.JWT_ISSUER,
        audiences: env.JWT_AUDIENCE,
        userClaim: env.JWT_USER_CLAIM,
        clockToleranceS: env.JWT_CLOCK_TOLERANCE_S,
      },
      devHosts: env.DEV_HOSTS,
      devTokens:
        env.NODE_ENV !== 'production' && (env.DEV_TOKENS ?? (isLoopback(env.HOST) ? 'on' : 'off')) === 'on',
      tokenInUrl: env.TOKEN_IN_URL === 'on',
      corsOrigins: env.CORS_ORIGINS,
      maxConnections: env.MAX_CONNECTIONS,
      maxConnectionsPerUser: env.MAX_CONNECTIONS_PER_USER,
      maxConnectionsPerAddress: env.MAX_CONNECTIONS_PER_ADDRESS,
      trustProxy: env.TRUST_PROXY,
      rates:
        env.RATE_LIMIT === 'off'
          ? undefined
          : {
              user_requests: env.USER_REQUESTS_PER_MINUTE,
              user_connects: env.USER_CONNECTS_PER_MINUTE,
              address_requests: env.ADDRESS_REQUESTS_PER_MINUTE,
              address_connects: env.ADDRESS_CONNECTS_PER_MINUTE,
              user_stories: env.STORIES_PER_DAY,
              reaction_changes: env.REACTION_CHANGES_PER_DAY,
            },
      maxTicketsPerUser: env.MAX_TICKETS_PER_USER,
      headerMaxBytes: env.HEADER_MAX_BYTES,
      urlMaxBytes: env.URL_MAX_BYTES,
      bodyMaxBytes: env.BODY_MAX_BYTES,
      headersTimeoutMs: env.HEADERS_TIMEOUT_MS,
      requestTimeoutMs: env.REQUEST_TIMEOUT_MS,
      keepAliveTimeoutMs: env.KEEP_ALIVE_TIMEOUT_MS,
      maxEventLoopDelayMs: env.MAX_EVENT_LOOP_DELAY_MS,
      maxHeapPercent: env.MAX_HEAP_PERCENT,
      answerTimeoutMs: env.ANSWER_TIMEOUT_MS,
      unsent: {
        total: env.MAX_UNSENT_BYTES,
        perUser: env.MAX_UNSENT_BYTES_PER_USER,
        perAddress: env.MAX_UNSENT_BYTES_PER_ADDRESS,
      },
      messageMaxBytes: env.MESSAGE_MAX_BYTES,
      messagesPerMinute: env.MESSAGES_PER_MINUTE,
      maxWaitingWrites: env.MAX_WAITING_WRITES,
      maxWaitingRequests: env.MAX_WAITING_REQUESTS,
      heartbeatIntervalMs: env.HEARTBEAT_INTERVAL_MS,
      stallTimeoutMs: env.STALL_TIMEOUT_MS,
      drainTimeoutMs: env.DRAIN_TIMEOUT_MS,
      outboxMaxBytes: env.OUTBOX_MAX_BYTES,
      eventRetentionHours: env.EVENT_RETENTION_HOURS,
      logLevel: env.LOG_LEVEL,
    },
  }
}
