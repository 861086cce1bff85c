import type { Environment } from '../src/environment.ts'
import { SECRETS } from '../src/secrets.ts'

/** What docs/configuration.md and .env.example say about a variable; the rest follows from src/environment.ts. */
export interface About {
  /** Markdown; .env.example has it without the markup. */
  readonly about: string
  /** The allowed values, where the schema has no rule to read them from. */
  readonly values?: string
  /** The default, where it is not a fixed value. */
  readonly fallback?: string
  /** A value for .env.example, where there is no fixed default. */
  readonly example?: string
}

type Name = keyof typeof Environment.shape | `${(typeof SECRETS)[number]}_FILE`

export interface Group {
  readonly title: string
  readonly variables: { readonly [name in Name]?: About }
}

const NATS_URL = 'tls://both:secret@nats.example:4222'
const DATABASE = 'postgres://glimpse:secret@db.example:5432/glimpse'

const file = (name: string): About => ({
  about: `a file that holds the value of \`${name}\``,
  values: 'a path',
  fallback: 'none',
  example: `/run/secrets/${name.toLowerCase().replaceAll('_', '-')}`,
})

/** Every variable, in the order in which people read them. */
export const GROUPS: readonly Group[] = [
  {
    title: 'The service',
    variables: {
      NODE_ENV: {
        about:
          '`production`: `DATABASE_URL` and `JWT_SECRET` or `JWKS_URL` are required, the console is off, and there are no development tokens and no sample secrets',
        values: 'any text',
        fallback: 'none',
        example: 'production',
      },
      HOST: { about: 'the address to listen on; `0.0.0.0` or `::` is every address', values: 'an address' },
      PORT: { about: '0 takes any free port; the line logged at start names it' },
      ADMIN_PORT: {
        about:
          '`/metrics` and the health routes are served here, on the same `HOST`; `/metrics` then no longer on `PORT`. `glimpse relay` answers on either, if it is set',
        fallback: 'none: they are on `PORT`',
        example: '9090',
      },
      PAGES: {
        about: 'the console (`/`, `/console`), `/docs`, `/openapi.json` and `/asyncapi.json`',
        fallback: 'on; off with `NODE_ENV=production`',
        example: 'off',
      },
      DATA_DIR: { about: 'the folder of the embedded Postgres and the development secret', values: 'a path' },
      LOG_LEVEL: { about: 'the lowest level that is logged ([levels](operations.md#the-log))' },
    },
  },
  {
    title: 'Database',
    variables: {
      DATABASE_URL: {
        about: 'Postgres 14 or newer, managed ones included; required with `NODE_ENV=production`',
        values: '[a URL as psql takes it](#database-urls)',
        fallback: 'an embedded Postgres in `DATA_DIR`',
        example: DATABASE,
      },
      LISTEN_DATABASE_URL: {
        about:
          'a direct connection to the same database, if `DATABASE_URL` goes through a transaction pooler',
        values: 'the same',
        fallback: '`DATABASE_URL`',
        example: DATABASE,
      },
      DATABASE_POOLER: {
        about:
          '`transaction` if `DATABASE_URL` goes through a transaction pooler (PgBouncer, Supavisor); it needs `LISTEN_DATABASE_URL`. The start is refused if there is [a pooler that is not declared](deployment.md#poolers-and-managed-postgres)',
      },
      MIGRATE: {
        about:
          '`on`: the schema is brought up to date at start. `off`: run `glimpse migrate` before; the start is refused while a migration is pending, or if the database has one that is newer than this version',
      },
      EVENT_RETENTION_HOURS: {
        about:
          'how long events are kept for clients that come back, and expired stories after their end. 168 is 7 days',
      },
    },
  },
  {
    title: 'NATS instead of LISTEN',
    variables: {
      BUS_URL: {
        about:
          'NATS, through which an instance receives only the events of its own users. One URL, or one for each server of a cluster, with commas between. `tls://` is required with `NODE_ENV=production`, unless NATS is on this machine. [When it pays](scaling.md)',
        values: '`nats://` or `tls://` URLs, with user and password if the servers ask for them',
        fallback: 'none: Postgres’ LISTEN',
        example: NATS_URL,
      },
      BUS_CREDENTIALS: {
        about: 'a NATS credentials file, or a file with an nkey’s seed',
        values: 'a path',
        fallback: 'none',
        example: '/etc/glimpse/nats.creds',
      },
      BUS_CA: {
        about: 'the certificate authority of the NATS servers, PEM',
        values: 'a path',
        fallback: 'none',
        example: '/etc/glimpse/nats-ca.pem',
      },
      BUS_NAMESPACE: {
        about: 'begins every subject; use one for each database that shares the NATS servers',
      },
      BUS_RELAY: {
        about:
          '`on`: this instance may become the relay, which publishes to NATS what Postgres notifies. `off`: it only receives, and `glimpse relay` or another instance is the relay',
      },
      BUS_LINGER_MS: {
        about:
          'how long the relay collects notifications under load before it publishes them; a single event is published at once',
      },
    },
  },
  {
    title: 'Tokens',
    variables: {
      JWT_SECRET: {
        about:
          'verifies HS256. May be set together with `JWKS_URL`; one of them is required with `NODE_ENV=production`',
        fallback: 'a secret made in `DATA_DIR`, unless `JWKS_URL` is set',
        example: 'at-least-32-bytes-of-your-own-secret',
      },
      JWT_SECRET_PREVIOUS: {
        about: 'verifies beside `JWT_SECRET`, so that a new secret signs nobody out',
        fallback: 'none',
        example: 'the-secret-before-it-of-32-bytes-or-more',
      },
      JWKS_URL: {
        about:
          'key sets that verify RS, PS and ES 256/384/512 and EdDSA. [Settings for nine providers](identity-providers.md)',
        fallback: 'none',
        example: 'https://issuer.example/.well-known/jwks.json',
      },
      JWT_ISSUER: {
        about: 'what `iss` must be; of a list, any one',
        fallback: 'not checked',
        example: 'https://issuer.example/',
      },
      JWT_AUDIENCE: {
        about:
          'what `aud` must be; of a list, any one. In a token without `aud`, `client_id` counts (Amazon Cognito)',
        fallback: 'not checked',
        example: 'glimpse',
      },
      JWT_USER_CLAIM: { about: 'the claim that names the user' },
      JWT_CLOCK_TOLERANCE_S: {
        about: 'how far the issuer’s clock may be off, for `exp` and `nbf`. Streams still end at `exp`',
      },
      TOKEN_IN_URL: {
        about: '`off`: streams take no `?token=`, only headers, the cookie and tickets',
      },
      DEV_TOKENS: {
        about:
          'whether `POST /dev/tokens` exists outside production. It answers only clients on this machine, and no request that a proxy passed on',
        fallback: 'on if `HOST` is a loopback address, else off',
        example: 'off',
      },
      DEV_HOSTS: {
        about: 'hosts besides localhost for which `POST /dev/tokens` answers; not in production',
        fallback: 'none',
        example: 'dev.example,192.0.2.7',
      },
    },
  },
  {
    title: 'Secrets as files',
    variables: Object.fromEntries(SECRETS.map((name) => [`${name}_FILE`, file(name)])),
  },
  {
    title: 'Origins and proxies',
    variables: {
      CORS_ORIGINS: {
        about:
          'origins, besides the service’s own, whose pages may call it; also of apps and extensions (`capacitor://localhost`, `chrome-extension://…`)',
        fallback: 'none',
        example: 'https://app.example,https://admin.example',
      },
      TRUST_PROXY: {
        about:
          'the number of your proxies in front of the service. The client’s address is the entry with this number from the right in `X-Forwarded-For`',
      },
    },
  },
  {
    title: 'Connections',
    variables: {
      MAX_CONNECTIONS: { about: 'connections of this instance; past it 503' },
      MAX_CONNECTIONS_PER_USER: {
        about: 'connections of one user on all instances; past it the oldest is replaced',
      },
      MAX_CONNECTIONS_PER_ADDRESS: {
        about:
          'connections from one address (an IPv6 /64 counts as one) on this instance. If `TRUST_PROXY` is 0, an address may have twice as many sockets and 100 more',
      },
      HEARTBEAT_INTERVAL_MS: { about: 'a heartbeat after this time without another message' },
      STALL_TIMEOUT_MS: { about: 'a client that reads nothing for this long is closed' },
      OUTBOX_MAX_BYTES: {
        about:
          'unsent bytes of a connection. Past it nothing more is pushed; the connection catches up from the log when the client reads again',
      },
      DRAIN_TIMEOUT_MS: { about: 'on SIGTERM, streams are closed over this time' },
    },
  },
  {
    title: 'Rates and quotas',
    variables: {
      RATE_LIMIT: { about: '`off` disables the six rates below' },
      USER_REQUESTS_PER_MINUTE: {
        about: 'requests of one user; past it 429 with `Retry-After`. Ten seconds’ worth may come at once',
      },
      USER_CONNECTS_PER_MINUTE: { about: 'new streams of one user, counted in the same way' },
      ADDRESS_REQUESTS_PER_MINUTE: {
        about:
          'requests from one address with whatever token, in the same way; `/livez` and `/readyz` are not counted, nor is `/metrics` on `ADMIN_PORT`',
      },
      ADDRESS_CONNECTS_PER_MINUTE: { about: 'new streams from one address, in the same way' },
      STORIES_PER_DAY: {
        about:
          'stories that one user may post; past it 429 with `Retry-After`. A day’s worth may come at once. Each instance counts for itself, from its start',
      },
      REACTION_CHANGES_PER_DAY: {
        about:
          'changes of one user’s reaction to one story, counted like stories. The first reaction is a change, also after a removal; a removal and the same emoji again are none, and are never refused',
      },
      MAX_TICKETS_PER_USER: { about: 'open tickets of one user on all instances; past it 429' },
    },
  },
  {
    title: 'Requests',
    variables: {
      HEADER_MAX_BYTES: { about: 'the headers, with the URL; past it 431' },
      URL_MAX_BYTES: { about: 'the URL; past it 414' },
      BODY_MAX_BYTES: { about: 'the body; past it 413' },
      HEADERS_TIMEOUT_MS: {
        about: 'the headers must arrive within this time; past it 408. At most `REQUEST_TIMEOUT_MS`',
      },
      REQUEST_TIMEOUT_MS: { about: 'the whole request must arrive within this time; past it 408' },
      KEEP_ALIVE_TIMEOUT_MS: {
        about:
          'how long an idle connection waits for its next request. It must be longer than your load balancer keeps idle connections; otherwise the balancer sends requests into connections that are being closed',
      },
      ANSWER_TIMEOUT_MS: { about: 'how long a client may take to read an answer' },
      MESSAGE_MAX_BYTES: { about: 'a message of a WebSocket client; past it close code 1009' },
      MESSAGES_PER_MINUTE: {
        about:
          'messages of a WebSocket client, pings included; past it close code 1008. Ten seconds’ worth may come at once',
      },
    },
  },
  {
    title: 'Overload',
    variables: {
      MAX_WAITING_WRITES: {
        about:
          'views that wait for Postgres, and as many reactions and read marks; past it 503 with `Retry-After`',
      },
      MAX_WAITING_REQUESTS: {
        about: 'other requests that wait for Postgres; past it 503 with `Retry-After`',
      },
      MAX_EVENT_LOOP_DELAY_MS: {
        about: 'average delay of the event loop; past it new work gets 503 with `Retry-After`',
      },
      MAX_HEAP_PERCENT: {
        about:
          'used share of V8’s heap limit (`--max-old-space-size`); past it new streams get 503 with `Retry-After`',
      },
      MAX_UNSENT_BYTES: {
        about:
          'bytes of answers that clients have not read, in all; past it the oldest answers are dropped. The default is 64 MiB',
      },
      MAX_UNSENT_BYTES_PER_ADDRESS: { about: 'the same for one address, which gets 429 past it. 32 MiB' },
      MAX_UNSENT_BYTES_PER_USER: { about: 'the same for one user, who gets 429 past it. 8 MiB' },
    },
  },
]
