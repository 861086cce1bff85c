import type { NatsServers } from './bus/nats-servers.ts'
import { NatsUrlError, parseNatsUrls } from './bus/nats-url.ts'
import { Environment } from './environment.ts'
import { type ConnectionOptions, ConnectionUrlError, parseConnectionUrl } from './postgres/connection-url.ts'
import { readSecret, readSecretFiles, SAMPLE_PASSWORDS, SAMPLE_SECRETS } from './secrets.ts'

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
  | { readonly ok: false; readonly problems: readonly string[] }

function isLoopback(host: string): boolean {
  return /^(?:localhost|127(?:\.\d{1,3}){3}|::1)$/i.test(host)
}

/**
 * Parses the environment. It reports all problems at once, each as `NAME: what is wrong`, so that an operator can fix them in
 * one round. Values are never repeated, because they may be secrets. An empty variable counts as unset, because shells and
 * compose files write unset variables so. Files of NAME_FILE variables are read once, now.
 *
 * @param role a relay verifies no token, may have LISTEN_DATABASE_URL alone, and takes no port unless it is given one
 */
export function parseConfig(
  environment: Readonly<Record<string, string | undefined>>,
  role: 'instance' | 'relay' = 'instance',
): ConfigResult {
  const { environment: withSecrets, fromFile, problems: unreadable } = readSecretFiles(environment)
  const given = Object.fromEntries(Object.entries(withSecrets).filter(([, value]) => value !== ''))
  /** The variable as the operator wrote it. */
  const named = (name: string) => (fromFile.has(name) ? `${name}_FILE` : name)
  const isGiven = (name: string) => given[name] !== undefined || fromFile.has(name)
  const parsed = Environment.safeParse(given)
  const problems = [...unreadable]
  /** A variable that is right by itself, while others may be wrong: what is wrong with two of them is told at once too. */
  const alone = (name: 'HEADERS_TIMEOUT_MS' | 'REQUEST_TIMEOUT_MS' | 'PORT' | 'ADMIN_PORT') =>
    Environment.shape[name].safeParse(given[name]).data
  if (!parsed.success)
    for (const { path, message } of parsed.error.issues) problems.push(`${named(path.join('.'))}: ${message}`)

  const connection = (name: 'DATABASE_URL' | 'LISTEN_DATABASE_URL') => {
    try {
      return given[name] === undefined ? undefined : parseConnectionUrl(given[name], given)
    } catch (error) {
      if (!(error instanceof ConnectionUrlError)) throw error
      problems.push(`${named(name)}: ${error.message}`)
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
        problems.push(`${name}: ${code === undefined ? message : `the file cannot be read (${code})`}`)
        return undefined
      }
    }
    if (given.BUS_URL === undefined) {
      for (const name of ['BUS_CREDENTIALS', 'BUS_CA'])
        if (isGiven(name)) problems.push(`${name}: set without BUS_URL`)
      return undefined
    }
    try {
      const { loopback, ...servers } = parseNatsUrls(given.BUS_URL)
      if (given.NODE_ENV === 'production' && !servers.tls && !loopback)
        problems.push(
          `${named('BUS_URL')}: with NODE_ENV=production it must be tls://, or on this machine; who can read or forge ` +
            'messages on the way could read or forge events',
        )
      const ca = file('BUS_CA')
      // Node ignores whatever else is in it, and would then trust nobody.
      if (ca !== undefined && !ca.includes('-----BEGIN CERTIFICATE-----'))
        problems.push('BUS_CA: the file holds no certificate in PEM form')
      return { ...servers, ca, credentials: file('BUS_CREDENTIALS') }
    } catch (error) {
      if (!(error instanceof NatsUrlError)) throw error
      problems.push(`${named('BUS_URL')}: ${error.message}`)
      return undefined
    }
  }
  const bus = natsServers()
  if (given.DATABASE_POOLER === 'transaction' && !isGiven('LISTEN_DATABASE_URL'))
    problems.push(
      'DATABASE_POOLER, LISTEN_DATABASE_URL: behind a transaction pooler LISTEN needs a direct way to Postgres; ' +
        'set LISTEN_DATABASE_URL',
    )
  if (isGiven('JWT_SECRET_PREVIOUS') && !isGiven('JWT_SECRET'))
    problems.push('JWT_SECRET_PREVIOUS: set without JWT_SECRET')
  if (given.NODE_ENV === 'production') {
    if (role === 'instance' && !isGiven('JWT_SECRET') && !isGiven('JWKS_URL'))
      problems.push('JWT_SECRET, JWKS_URL: with NODE_ENV=production at least one of the two must be set')
    if (!isGiven('DATABASE_URL') && (role === 'instance' || !isGiven('LISTEN_DATABASE_URL')))
      problems.push(
        'DATABASE_URL: with NODE_ENV=production it must be set (the embedded Postgres is for development)',
      )
    for (const name of ['JWT_SECRET', 'JWT_SECRET_PREVIOUS'])
      if (SAMPLE_SECRETS.has(given[name] ?? ''))
        problems.push(`${named(name)}: must not be the sample of .env.example, which everybody can read`)
    if (database !== undefined && SAMPLE_PASSWORDS.has(database.password))
      problems.push(
        `${named('DATABASE_URL')}: its password must not be that of a sample, which everybody can read`,
      )
  }
  if (Number(alone('HEADERS_TIMEOUT_MS')) > Number(alone('REQUEST_TIMEOUT_MS')))
    problems.push(
      'HEADERS_TIMEOUT_MS: must not be greater than REQUEST_TIMEOUT_MS, which spans headers and body',
    )
  // Port 0 is any free port, so two of them differ.
  if (alone('PORT') && alone('PORT') === alone('ADMIN_PORT') && (role === 'instance' || isGiven('PORT')))
    problems.push(
      `ADMIN_PORT: must not be PORT${isGiven('PORT') ? '' : ', which is 8080 where it is not set'}`,
    )
  if (role === 'instance' && isGiven('LISTEN_DATABASE_URL') && !isGiven('DATABASE_URL'))
    problems.push('LISTEN_DATABASE_URL: set without DATABASE_URL')
  if (!parsed.success || problems.length > 0) return { ok: false, problems }

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
