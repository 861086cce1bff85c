import type { Database, PostgresServer } from './postgres-server.ts'
import type { Allowed } from './reading.ts'

/** What a scenario runs on, and what it may do. */
export interface Staging {
  readonly setup?: Partial<Setup>
  readonly allowed?: Allowed
  /** Makes what the instances find when they start, such as a pooler before Postgres. */
  prepare?(server: PostgresServer, database: Database): Promise<Prepared>
}

/** Goes over the variables of the bench; closed after the instances have ended. */
export interface Prepared {
  readonly environment: Readonly<Record<string, string>>
  close(): Promise<void>
}

/** What a scenario runs on. */
export interface Setup {
  readonly instances: number
  /** Clients by transport, spread over the authors. */
  readonly clients: { readonly sse: number; readonly ws: number; readonly poll: number }
  readonly authors: number
  /** Writes a second, by way; SQL ones go several to a statement. */
  readonly rate: { readonly http: number; readonly sql: number }
  /** Variables of the instances' environment. */
  readonly environment: Readonly<Record<string, string>>
  /** postgresql.conf; a scenario that sets any gets a server of its own. */
  readonly postgres: Readonly<Record<string, string>> | undefined
  /** Have Postgres run under libfaketime, for `bench.postgres.setClock`; on a server of its own. */
  readonly shiftedClock: boolean
  /** Have LISTEN go through `bench.listenProxy`. */
  readonly listenProxy: boolean
  /** How long clients may take, after the fault, until they have everything. */
  readonly settleMs: number
}

const ENVIRONMENT = { HEARTBEAT_INTERVAL_MS: '2000', DRAIN_TIMEOUT_MS: '5000' }

const FULL: Setup = {
  instances: 3,
  clients: { sse: 200, ws: 200, poll: 20 },
  authors: 100,
  rate: { http: 150, sql: 100 },
  environment: ENVIRONMENT,
  postgres: undefined,
  shiftedClock: false,
  listenProxy: false,
  settleMs: 15_000,
}

const QUICK: Setup = {
  ...FULL,
  instances: 2,
  clients: { sse: 20, ws: 20, poll: 4 },
  authors: 10,
  rate: { http: 80, sql: 60 },
  settleMs: 8000,
}

export function setupOf({ setup = {} }: Staging, quick: boolean): Setup {
  const base = quick ? QUICK : FULL
  return { ...base, ...setup, environment: { ...base.environment, ...setup.environment } }
}
