import { constants, copyFile, mkdir, mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import postgres from 'postgres'
import { type Layout, openLayout } from '../../../src/embedded/layout.ts'
import { takeLease } from '../../../src/embedded/leases.ts'
import { withLock } from '../../../src/embedded/lock.ts'
import { findPostmaster, type Postmaster } from '../../../src/embedded/postmaster.ts'
import { chooseRunAs, handOver, type RunAs } from '../../../src/embedded/run-as.ts'
import { startServer, stopServer } from '../../../src/embedded/server.ts'
import { createLogger } from '../../../src/observability/log.ts'
import { PREFIX } from '../../support/leftovers.ts'
import { until } from './crowd.ts'
import { stablePort } from './ports.ts'
import type { PostgresServer } from './postgres-server.ts'

const log = createLogger('silent')

/** What the copy must not or need not have: who runs on it, and the log of changes, which it is sent. */
const LEFT_OUT = /^(postmaster\.(pid|opts)|pg_wal\/.*|pg_replslot\/.*|pg_dynshmem\/.*|pg_notify\/.*)$/

const PATIENCE_MS = 30_000

/** A physical standby that follows a primary by streaming replication, until it is promoted to a new timeline. */
export class Standby {
  readonly port: number
  readonly #primary: PostgresServer
  readonly #folder: string
  readonly #layout: Layout
  readonly #sql: postgres.Sql
  readonly #promoted: Promise<Postmaster>

  private constructor(
    primary: PostgresServer,
    folder: string,
    layout: Layout,
    port: number,
    sql: postgres.Sql,
    promoted: Promise<Postmaster>,
  ) {
    this.#primary = primary
    this.#folder = folder
    this.port = port
    this.#layout = layout
    this.#sql = sql
    this.#promoted = promoted
    promoted.catch(() => {})
  }

  /** Copies the running primary and starts to follow it. The primary needs some `wal_keep_size`. */
  static async follow(primary: PostgresServer): Promise<Standby> {
    const folder = await mkdtemp(join(tmpdir(), PREFIX))
    const layout = await openLayout(folder)
    await withLock(layout.lock, () => takeLease(layout.leases))
    const way = chooseRunAs(primary.binaries.postgres, layout)
    await backUp(primary, layout.data, way)
    const port = await stablePort()
    const { username, password } = new URL(primary.adminUrl('postgres'))
    // A standby never calls itself ready, so this comes true with the promotion.
    const promoted = startServer(layout, primary.binaries, way, {
      port,
      settings: {
        max_connections: '200',
        primary_conninfo: `host=127.0.0.1 port=${primary.port} user=${username} password=${password}`,
      },
      log,
    })
    const url = Object.assign(new URL(primary.adminUrl('postgres')), { port: String(port) }).href
    const sql = postgres(url, { max: 1, onnotice: () => {}, backoff: () => 0.1 })
    const standby = new Standby(primary, folder, layout, port, sql, promoted)
    const follows = await until(PATIENCE_MS, () =>
      sql`select 1 from pg_stat_wal_receiver where status = 'streaming'`.then(
        ({ length }) => length > 0,
        () => false,
      ),
    )
    if (!follows) {
      await standby.close()
      throw new Error('the standby does not follow')
    }
    return standby
  }

  /** Waits until it has all that was committed on the primary before this was called. */
  async catchUp(): Promise<void> {
    const primary = postgres(this.#primary.adminUrl('postgres'), { max: 1 })
    const [now] = await primary<{ lsn: string }[]>`select pg_current_wal_lsn()::text as lsn`
    await primary.end()
    const lsn = now?.lsn ?? ''
    const replayed = await until(PATIENCE_MS, async () => {
      const [row] = await this.#sql<{ done: boolean }[]>`
        select pg_last_wal_replay_lsn() >= ${lsn}::pg_lsn as done`
      return row?.done === true
    })
    if (!replayed) throw new Error('the standby fell behind')
  }

  /** Becomes a primary, in a timeline of its own, whatever the old one does. */
  async promote(): Promise<void> {
    await this.#sql`select pg_promote()`
    await this.#promoted
  }

  /** Takes the place of the primary, which has been stopped: its folder, and so its port, when it is started again. */
  async takeOver(): Promise<void> {
    await this.#stop()
    const { dataFolder } = this.#primary
    await rm(`${dataFolder}-before`, { recursive: true, force: true })
    await rename(dataFolder, `${dataFolder}-before`)
    await rename(this.#layout.data, dataFolder)
    await rm(this.#folder, { recursive: true, force: true })
  }

  async close(): Promise<void> {
    await this.#stop()
    await rm(this.#folder, { recursive: true, force: true })
  }

  async #stop(): Promise<void> {
    await this.#sql.end({ timeout: 1 })
    const postmaster = await findPostmaster(this.#layout)
    if (postmaster !== undefined) await stopServer(this.#layout, this.#primary.binaries, postmaster)
  }
}

/** A base backup by hand (PostgreSQL manual, "Making a Base Backup Using the Low Level API"). */
async function backUp(primary: PostgresServer, to: string, way: RunAs): Promise<void> {
  // The backup lasts as long as this one session.
  const sql = postgres(primary.adminUrl('postgres'), { max: 1, idle_timeout: 0, onnotice: () => {} })
  try {
    await sql`select pg_backup_start('standby', fast => true)`
    await copyFolder(primary.dataFolder, to, way)
    const [stop] = await sql<{ labelfile: string }[]>`select labelfile from pg_backup_stop(false)`
    for (const [name, text] of [
      ['backup_label', stop?.labelfile ?? ''],
      ['standby.signal', ''],
    ] as const) {
      await writeFile(join(to, name), text, { mode: 0o600 })
      handOver(way, join(to, name))
    }
  } finally {
    await sql.end({ timeout: 1 })
  }
}

async function copyFolder(from: string, to: string, way: RunAs, below = ''): Promise<void> {
  await mkdir(join(to, below), { mode: 0o700 })
  handOver(way, join(to, below))
  for (const entry of await readdir(join(from, below), { withFileTypes: true })) {
    const name = join(below, entry.name)
    if (entry.isDirectory()) await copyFolder(from, to, way, name)
    else if (!LEFT_OUT.test(name)) await copyOne(join(from, name), join(to, name), way)
  }
}

async function copyOne(from: string, to: string, way: RunAs): Promise<void> {
  try {
    await copyFile(from, to, constants.COPYFILE_FICLONE)
    handOver(way, to)
  } catch (error) {
    // The primary goes on working and drops files meanwhile; the log of changes knows of it.
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
}
