import { z } from 'zod'
import { SECRETS } from './secrets.ts'

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

/** Every variable of the environment, with its syntax, its range and its default. */
export const Environment = z.object({
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
