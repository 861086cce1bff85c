import { StartError } from '../errors.ts'
import type { Logger } from '../observability/log.ts'
import { parseConnectionUrl } from '../postgres/connection-url.ts'
import { openPool } from '../postgres/pool.ts'
import { type Binaries, findBinaries } from './binaries.ts'
import { ensureCluster } from './cluster.ts'
import {
  type Connection,
  DATABASE,
  newConnection,
  readConnection,
  urlOf,
  writeConnection,
} from './connection.ts'
import { type Layout, openLayout } from './layout.ts'
import { countLeases, dropLease, takeLease } from './leases.ts'
import { withLock } from './lock.ts'
import { findPostmaster, type Postmaster } from './postmaster.ts'
import type { ProcessIdentity } from './process.ts'
import { clearRemains } from './recovery.ts'
import { chooseRunAs } from './run-as.ts'
import { type Settings, startServer, stopServer, untilReady } from './server.ts'
import { watchServer } from './watch.ts'

export interface EmbeddedPostgresOptions {
  /** DATA_DIR, created if missing. The server's files are in its folder `postgres`. */
  readonly dataDir: string
  readonly log: Logger
  /** postgresql.conf settings, if this process starts the server; a running server is shared as it is. */
  readonly settings?: Settings
  /** Aborts the start while it waits for another process or for the server; throws its reason. */
  readonly signal?: AbortSignal | undefined
}

export interface EmbeddedPostgres {
  /** `postgres://glimpse:<password>@127.0.0.1:<port>/glimpse`, the same for all processes that share the folder. */
  readonly url: string
  /** Leaves the server; the last process to leave stops it. Never rejects; further calls do nothing. */
  release(): Promise<void>
}

/**
 * A real Postgres for development, kept in DATA_DIR and shared by every process that names the same folder.
 * Starts one if none runs, and first removes what a killed one left. Throws StartError, in one line.
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const { dataDir, log, signal } = options
  const binaries = await findBinaries(process.platform, process.arch)
  const layout = await openLayout(dataDir)
  const locked = <T>(work: () => Promise<T>) =>
    withLock(layout.lock, work, (holder, waited) => onWait(layout, log, holder, waited))
  const lockedToStart = <T>(work: () => Promise<T>) =>
    withLock(layout.lock, work, (holder, waited) => {
      signal?.throwIfAborted()
      onWait(layout, log, holder, waited)
    })

  /** Called under the lock. */
  async function leave(lease: string): Promise<void> {
    await dropLease(lease)
    if ((await countLeases(layout.leases)) > 0) return
    const postmaster = await findPostmaster(layout)
    if (postmaster === undefined) return
    await stopServer(layout, binaries, postmaster)
    log.info('embedded Postgres is stopped')
  }

  async function enter(): Promise<{ connection: Connection; lease: string }> {
    const lease = await takeLease(layout.leases)
    try {
      const running = await findRunning(layout, log, signal)
      const connection = await (running
        ? connect(layout, running)
        : startAndConnect(layout, binaries, options))
      log.info({ port: connection.port, shared: running !== undefined }, 'embedded Postgres is running')
      return { connection, lease }
    } catch (error) {
      await leave(lease)
      throw error
    }
  }

  async function revive(): Promise<void> {
    if (released !== undefined || (await findRunning(layout, log)) !== undefined) return
    const { port } = await startAndConnect(layout, binaries, options)
    if (port === connection.port) log.warn('embedded Postgres was killed; it is started again')
    else
      log.error(
        { port },
        'embedded Postgres was killed and its port taken; restart Glimpse to use the new one',
      )
  }

  const { connection, lease } = await lockedToStart(enter).catch((error: NodeJS.ErrnoException) => {
    // A full disk or a missing permission can appear anywhere; the operator must fix it.
    if (error.syscall === undefined) throw error
    throw new StartError(`DATA_DIR ${dataDir} can't be used: ${error.message}`, { cause: error })
  })
  const unwatch = watchServer(layout, log, () => locked(revive))
  let released: Promise<void> | undefined
  return {
    url: urlOf(connection),
    release() {
      unwatch()
      // After a failure the server keeps running, and the next start shares it: no reason to fail a shutdown.
      released ??= locked(() => leave(lease)).catch((error: unknown) =>
        log.warn({ err: error }, 'embedded Postgres could not be stopped'),
      )
      return released
    },
  }
}

/** A server that another process started. Waits until it has started, or until a stopping one is gone. */
async function findRunning(
  layout: Layout,
  log: Logger,
  signal?: AbortSignal,
): Promise<Postmaster | undefined> {
  return untilReady(layout, log, async () => {
    signal?.throwIfAborted()
    return (await findPostmaster(layout)) === undefined
  })
}

async function startAndConnect(
  layout: Layout,
  binaries: Binaries,
  options: EmbeddedPostgresOptions,
): Promise<Connection> {
  const { log, settings = {}, signal } = options
  const way = chooseRunAs(binaries.postgres, layout)
  await clearRemains(layout, log)
  await ensureCluster(layout, binaries, way, settings.fsync !== 'off')
  const port = (await readConnection(layout))?.port ?? 0
  return connect(layout, await startServer(layout, binaries, way, { port, settings, log, signal }))
}

/** Checks that our password works on this server, and creates the database if it is missing. */
async function connect(layout: Layout, postmaster: Postmaster): Promise<Connection> {
  const known = (await readConnection(layout)) ?? newConnection()
  const connection = { ...known, port: postmaster.port }
  const sql = openPool(parseConnectionUrl(`${urlOf(connection, 'postgres')}?sslmode=disable`), 'embedded', {
    max: 1,
    deadlineMs: STATEMENT_TIMEOUT_MS,
  })
  try {
    const [found] = await sql`SELECT FROM pg_database WHERE datname = ${DATABASE}`
    if (found === undefined) await sql`CREATE DATABASE glimpse`
  } catch (cause) {
    throw new StartError(
      `DATA_DIR ${layout.dataDir}: embedded Postgres refused the connection: ${(cause as Error).message}`,
      { cause },
    )
  } finally {
    await sql.end()
  }
  if (connection.port !== known.port) await writeConnection(layout, connection)
  return connection
}

/** Creating a database copies files, which takes a while on a slow disk. */
const STATEMENT_TIMEOUT_MS = 60_000
const PATIENCE_MS = 120_000

function onWait(layout: Layout, log: Logger, holder: ProcessIdentity, waitedMs: number): void {
  if (waitedMs > PATIENCE_MS) {
    throw new StartError(
      `DATA_DIR ${layout.dataDir}: process ${holder.pid} has held embedded Postgres' lock for two minutes; end it and try again`,
    )
  }
  if (waitedMs < 6000) return
  log.warn({ pid: holder.pid }, 'waiting for another process to start or stop embedded Postgres')
}
