import { setTimeout as sleep } from 'node:timers/promises'
import { StartError } from '../errors.ts'
import { withTimeout } from '../limits/with-timeout.ts'
import type { Logger } from '../observability/log.ts'
import { cannotConnect } from '../postgres/connection-error.ts'
import type { ConnectionOptions } from '../postgres/connection-url.ts'
import { SingleSession } from '../postgres/single-session.ts'
import {
  type AppliedMigration,
  type Comparison,
  compareMigrations,
  MIGRATIONS,
  type Migration,
  readMigrations,
  refusalOf,
  SELECT_APPLIED,
} from './migrations.ts'

/** Our own lock: another application may migrate this database with the same tool. */
const LOCK = 4_739_210_551

const CONNECT_TIMEOUT_MS = 10_000
/**
 * How long a migration waits for a table lock. Every later statement on the table queues behind it: without a bound, one
 * long reader would stop all writers.
 */
const LOCK_TIMEOUT_MS = 1000
/** Writers continue in the pause between two attempts. It grows, so that attempts stop them for a tenth of the time. */
const FIRST_PAUSE_MS = 1000
const MAX_PAUSE_MS = 10_000
/** The advisory lock is polled: a session that waits for it holds a snapshot, which holds back vacuum. */
const POLL_MS = 200
/** A shorter wait is not logged; a longer one is logged again every REMIND_MS. */
const QUIET_MS = 1000
const REMIND_MS = 10_000
const SILENCE_MS = 15_000
/** How long an aborted migration may take to end on the server. */
const TERMINATE_MS = 500

/** lock_not_available, deadlock_detected: another transaction has a lock. */
const CONTENTION: ReadonlySet<string | undefined> = new Set(['55P03', '40P01'])

/**
 * Settings of the role and the database must not end a long migration, or the session while it pauses. The runner sets
 * `search_path`.
 */
const SETTINGS = `
  set lock_timeout = ${LOCK_TIMEOUT_MS};
  set statement_timeout = 0;
  set idle_session_timeout = 0;
  set idle_in_transaction_session_timeout = 0;
  set default_transaction_isolation = 'read committed'`

/** The table as node-pg-migrate makes it, with checksums. */
const TABLE = `
  create table if not exists glimpse.migrations (
    id serial primary key, name varchar(255) not null, run_on timestamp not null, checksum text)`

/** 0001 begins with it. Postgres requires the right to create schemas even if the schema exists. */
const CREATE_SCHEMA = /^create schema if not exists glimpse;$/m

/** A session that blocks us. Its statement is left out, because it may contain personal data. */
interface Blocker {
  readonly pid: number
  readonly application_name: string | null
  readonly state: string | null
}

export interface MigrateOptions {
  /** Aborts at once, whatever it waits for; what is not committed is rolled back. */
  readonly signal?: AbortSignal | undefined
  /** Another folder of migrations than this version's. */
  readonly directory?: string
  /** If a short statement takes longer than this, the connection counts as silent. */
  readonly silenceMs?: number
}

/**
 * Brings the schema up to date: the numbered files of migrations/, each once, each in a transaction of its own, under a
 * session advisory lock. It waits without a bound for other instances that migrate and for locked tables, and logs for
 * which sessions it waits.
 *
 * ```
 * connect → compare → advisory lock → compare, apply → record checksums → done
 *              │         ↻ held             ↻ a table is locked
 *              └→ done; or refused: newer than we know, or changed
 * ```
 *
 * @param connection a direct one: a transaction pooler would lose the advisory lock
 * @throws StartError one line for the operator; the signal's reason where it was aborted
 */
export async function migrate(
  connection: ConnectionOptions,
  log: Logger,
  { signal, directory = MIGRATIONS, silenceMs = SILENCE_MS }: MigrateOptions = {},
): Promise<void> {
  const known = await readMigrations(directory)
  const sessions: SingleSession[] = []
  const open = async (purpose: string) => {
    const options = { connection, purpose, connectTimeoutMs: CONNECT_TIMEOUT_MS }
    const session = await SingleSession.open(options, signal)
    sessions.push(session)
    await session.query(SETTINGS)
    return session
  }
  let terminated: Promise<unknown> | undefined
  const onAbort = () => {
    const [session, watcher] = sessions
    session?.end()
    if (session === undefined || watcher === undefined) return
    // A backend that waits for a lock does not notice that its client is gone.
    terminated = Promise.race([
      watcher.query('select pg_terminate_backend($1)', [session.pid]).catch(() => {}),
      sleep(TERMINATE_MS, undefined, { ref: false }),
    ])
  }
  signal?.addEventListener('abort', onAbort, { once: true })
  try {
    const session = await open('migrate').catch((error: NodeJS.ErrnoException) => {
      throw signal?.aborted ? error : cannotConnect('DATABASE_URL', connection, error)
    })
    // First without the lock, which any role can hold: if nothing is pending, there is no need to wait.
    const { pending, unrecorded } = await untilFree(session, undefined, log, signal, () =>
      compare(session, known),
    )
    if (pending.length === 0 && unrecorded.length === 0) return
    await takeLock(session, log, signal)
    // A second session looks for the sessions that block the first one.
    const watcher = await open('migrate-watch')
    await untilFree(session, watcher, log, signal, () => apply(session, known, directory, log), silenceMs)
  } catch (error) {
    if (signal?.aborted) {
      await terminated
      throw signal.reason
    }
    if (error instanceof StartError) throw error
    throw new StartError(`DATABASE_URL: a migration failed: ${firstLine(error)}`, { cause: error })
  } finally {
    signal?.removeEventListener('abort', onAbort)
    for (const session of sessions) session.end()
  }
}

/** Resolves when this session holds the lock, so that only one instance migrates at a time. */
async function takeLock(session: SingleSession, log: Logger, signal: AbortSignal | undefined): Promise<void> {
  const reminder = new Reminder(log)
  while (!(await tryLock(session))) {
    if (reminder.due) reminder.tell(await lockHolders(session), 'another session is migrating')
    await sleep(POLL_MS, undefined, { signal })
  }
}

async function tryLock(session: SingleSession): Promise<boolean> {
  const [row] = await withTimeout(
    SILENCE_MS,
    session.query<{ locked: boolean }>(`select pg_try_advisory_lock(${LOCK}) as locked`),
    () => new Error(`no answer within ${SILENCE_MS} ms`),
  )
  return row?.locked === true
}

function lockHolders(session: SingleSession): Promise<readonly Blocker[]> {
  return session.query<Blocker>(`
    select pid, application_name, state from pg_locks join pg_stat_activity using (pid)
     where locktype = 'advisory' and granted and database = (select oid from pg_database where datname = current_database())
       and (classid::bigint << 32 | objid::bigint) = ${LOCK}`)
}

/** Repeats the work while other sessions hold locks that it needs. */
async function untilFree<Result>(
  session: SingleSession,
  watcher: SingleSession | undefined,
  log: Logger,
  signal: AbortSignal | undefined,
  work: () => Promise<Result>,
  silenceMs = SILENCE_MS,
): Promise<Result> {
  const reminder = new Reminder(log)
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * 1.5, MAX_PAUSE_MS)) {
    const watching = watcher && watch(watcher, session, silenceMs)
    try {
      return await work()
    } catch (error) {
      if (!CONTENTION.has((error as { code?: string }).code)) throw error
      await session.query('rollback')
      if (reminder.due) reminder.tell(watching?.seen ?? [], 'a table of the schema glimpse is locked')
    } finally {
      watching?.stop()
    }
    await sleep(pauseMs, undefined, { signal })
  }
}

/**
 * Looks for the blockers of the session several times within a lock timeout; `seen` has the last ones. A migration has no
 * deadline, because it may take any time. Instead, if these looks get no answer, the session is ended.
 */
function watch(
  watcher: SingleSession,
  session: SingleSession,
  silenceMs: number,
): { readonly seen: readonly Blocker[]; stop(): void } {
  let seen: readonly Blocker[] = []
  let stopped = false
  const look = async () => {
    while (!stopped) {
      const looked = watcher.query<Blocker>(
        `select pid, application_name, state from pg_stat_activity where pid = any(pg_blocking_pids($1::int)) order by pid`,
        [session.pid],
      )
      const blockers = await withTimeout(silenceMs, looked, () => new Error('silent'))
      if (blockers.length > 0) seen = blockers
      await sleep(LOCK_TIMEOUT_MS / 4, undefined, { ref: false })
    }
  }
  look().catch(() => {
    if (!stopped) session.end()
  })
  return {
    get seen() {
      return seen
    },
    stop() {
      stopped = true
    },
  }
}

/** @throws StartError where the database does not fit this version */
async function compare(session: SingleSession, known: readonly Migration[]): Promise<Comparison> {
  const [row] = await session.query<{ there: boolean }>(
    `select to_regclass('glimpse.migrations') is not null as there`,
  )
  const applied = row?.there ? await session.query<AppliedMigration>(SELECT_APPLIED) : []
  const comparison = compareMigrations(known, applied)
  const refusal = refusalOf(comparison)
  if (refusal !== undefined) throw new StartError(`DATABASE_URL: ${refusal}`)
  return comparison
}

async function apply(
  session: SingleSession,
  known: readonly Migration[],
  directory: string,
  log: Logger,
): Promise<void> {
  const hadSchema = await prepareTable(session)
  const { pending } = await compare(session, known)
  // Loaded when it is needed: with its driver it takes a sixth of a service's start.
  const { runner } = await import('node-pg-migrate')
  // Each in its own transaction, so that the tables of one are unlocked while the next one waits.
  for (const name of pending) {
    await runner({
      dbClient: {
        query: async (query: string | { text: string; values?: readonly string[] }) => {
          const { text, values = [] } = typeof query === 'string' ? { text: query } : query
          return {
            rows: await session.query(hadSchema ? text.replace(CREATE_SCHEMA, '') : text, values),
          }
        },
      } as never,
      dir: directory,
      file: name,
      direction: 'up',
      schema: 'public',
      migrationsSchema: 'glimpse',
      migrationsTable: 'migrations',
      noLock: true,
      singleTransaction: false,
      logger: {
        debug: (message) => log.trace({ migration: message }),
        info: (message) => log.trace({ migration: message }),
        warn: (message) => log.warn({ migration: message }),
        error: (message) => log.debug({ migration: message }),
      },
    })
    log.info({ migration: name }, 'migrated')
  }
  const { unrecorded } = await compare(session, known)
  for (const { name, checksum } of unrecorded)
    await session.query('update glimpse.migrations set checksum = $1 where name = $2', [checksum, name])
}

/** Creates schema and table if they are missing. @returns whether the schema existed */
async function prepareTable(session: SingleSession): Promise<boolean> {
  const [state] = await session.query<{ schema: boolean; table: boolean; checksums: boolean }>(`
    select to_regnamespace('glimpse') is not null as schema,
           to_regclass('glimpse.migrations') is not null as table,
           exists (select from pg_attribute
                    where attrelid = to_regclass('glimpse.migrations') and attname = 'checksum') as checksums`)
  if (!state?.schema) await session.query('create schema glimpse')
  if (!state?.table) await session.query(TABLE)
  else if (!state.checksums) await session.query('alter table glimpse.migrations add column checksum text')
  return state?.schema === true
}

/** Logs for which sessions we wait: after a while, and then from time to time. */
class Reminder {
  readonly #log: Logger
  #nextAt = performance.now() + QUIET_MS

  constructor(log: Logger) {
    this.#log = log
  }

  get due(): boolean {
    return performance.now() >= this.#nextAt
  }

  tell(blockers: readonly Blocker[], reason: string): void {
    this.#nextAt = performance.now() + REMIND_MS
    this.#log.warn({ reason, blockers }, 'the migration is waiting')
  }
}

function firstLine(error: unknown): string {
  const { message, code } = error as { message?: string; code?: string }
  return message?.split('\n', 1)[0] || String(code)
}
