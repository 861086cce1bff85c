import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import { type Binaries, findBinaries } from '../../../src/embedded/binaries.ts'
import { ensureCluster } from '../../../src/embedded/cluster.ts'
import { type Connection, readConnection, urlOf } from '../../../src/embedded/connection.ts'
import { type Layout, openLayout } from '../../../src/embedded/layout.ts'
import { takeLease } from '../../../src/embedded/leases.ts'
import { withLock } from '../../../src/embedded/lock.ts'
import { findPostmaster, type Postmaster } from '../../../src/embedded/postmaster.ts'
import { isAlive, signal } from '../../../src/embedded/process.ts'
import { clearRemains } from '../../../src/embedded/recovery.ts'
import { chooseRunAs, type RunAs } from '../../../src/embedded/run-as.ts'
import { type Settings, startServer, stopServer } from '../../../src/embedded/server.ts'
import { createLogger } from '../../../src/observability/log.ts'
import { PREFIX } from '../../support/leftovers.ts'
import { stablePort } from './ports.ts'

const log = createLogger('error')

/** Debian's libfaketime; undefined where it is not installed. */
export function faketimeLibrary(): string | undefined {
  const folders = ['/usr/lib/x86_64-linux-gnu', '/usr/lib/aarch64-linux-gnu', '/usr/lib64', '/usr/lib']
  return folders.map((folder) => `${folder}/faketime/libfaketime.so.1`).find((path) => existsSync(path))
}

/** Enough for five instances of 17 connections each, the writers and us. */
const DEFAULTS: Settings = { max_connections: '200' }

/** An ordinary role owns the databases: a superuser would hide missing grants. */
const ROLE = 'glimpse_app'

export interface Database {
  readonly name: string
  /** As the service connects. */
  readonly url: string
  /** As a superuser. */
  readonly adminUrl: string
}

/**
 * A real Postgres that may be killed: its own data folder, its own port, and nobody who starts it again but us. The
 * durability settings are the defaults, because half of what is proven here is what survives.
 */
export class PostgresServer {
  readonly port: number
  /** The Postgres data directory, for scenarios that copy it or fill its disk. */
  readonly dataFolder: string
  readonly binaries: Binaries
  /** What the server is started with. */
  #launched: Binaries
  readonly #folder: string
  readonly #layout: Layout
  readonly #way: RunAs
  readonly #settings: Settings
  readonly #rolePassword = randomBytes(12).toString('hex')
  #connection: Connection | undefined
  #postmaster: Postmaster | undefined

  private constructor(folder: string, layout: Layout, binaries: Binaries, settings: Settings, port: number) {
    this.#folder = folder
    this.#layout = layout
    this.binaries = binaries
    this.#launched = binaries
    this.#settings = { ...DEFAULTS, ...settings }
    this.#way = chooseRunAs(binaries.postgres, layout)
    this.dataFolder = layout.data
    this.port = port
  }

  /**
   * Makes a cluster and starts it.
   *
   * @param shifted whether its clock may be set by `setClock`: it then runs under libfaketime
   */
  static async create(settings: Settings = {}, shifted = false): Promise<PostgresServer> {
    const folder = await mkdtemp(join(tmpdir(), PREFIX))
    const layout = await openLayout(folder)
    // By its lease a later test run sees that the folder is in use, or that whoever used it was killed.
    await withLock(layout.lock, () => takeLease(layout.leases))
    const binaries = await findBinaries(process.platform, process.arch)
    const server = new PostgresServer(folder, layout, binaries, settings, await stablePort())
    await ensureCluster(layout, binaries, server.#way, true)
    if (shifted) server.#launched = { ...binaries, postgres: await server.#underFaketime() }
    await server.start()
    const sql = postgres(server.adminUrl('postgres'), { max: 1 })
    await sql.unsafe(`CREATE ROLE ${ROLE} LOGIN PASSWORD '${server.#rolePassword}'`)
    await sql.end()
    return server
  }

  /** Starts the server again, on the same port, after clearing up what a killed one left. Resolves once it accepts. */
  async start(): Promise<void> {
    await clearRemains(this.#layout, createLogger('silent'))
    this.#postmaster = await startServer(this.#layout, this.#launched, this.#way, {
      port: this.port,
      settings: this.#settings,
      log,
    })
    if (this.#postmaster.port !== this.port) throw new Error(`port ${this.port} was taken meanwhile`)
    this.#connection ??= await readConnection(this.#layout)
  }

  /** Starts it where a scenario broke down and left it down, so that the next one has it. */
  async ensureRunning(): Promise<void> {
    if (this.#postmaster === undefined) await this.start()
  }

  /** The postmaster's process id. */
  get pid(): number {
    if (this.#postmaster === undefined) throw new Error('Postgres does not run')
    return this.#postmaster.pid
  }

  /** `kill -9` of the postmaster; its backends notice by themselves. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL')
  }

  /** Shuts down: `fast` ends the sessions and writes a checkpoint, `immediate` leaves recovery to the next start. */
  async stop(mode: 'fast' | 'immediate' = 'fast'): Promise<void> {
    await this.#end(mode === 'fast' ? 'SIGINT' : 'SIGQUIT')
  }

  /** Sets the server's clock off by so many seconds, from its next look at it on; only of one that was made for it. */
  async setClock(seconds: number): Promise<void> {
    // Replaced at once: a backend that reads half a file would take it for no shift.
    await writeFile(`${this.#clockFile}.new`, `${seconds < 0 ? '' : '+'}${seconds}s\n`, { mode: 0o644 })
    await rename(`${this.#clockFile}.new`, this.#clockFile)
  }

  get #clockFile(): string {
    return join(this.#layout.home, 'clock')
  }

  /** Postgres behind a script that preloads libfaketime, which reads the shift from a file at each look at the clock. */
  async #underFaketime(): Promise<string> {
    const script = join(this.#layout.home, 'postgres-under-faketime')
    await this.setClock(0)
    await writeFile(
      script,
      `#!/bin/sh
export LD_PRELOAD=${faketimeLibrary()} FAKETIME_TIMESTAMP_FILE=${this.#clockFile} FAKETIME_NO_CACHE=1 \\
  FAKETIME_DONT_FAKE_MONOTONIC=1 DONT_FAKE_MONOTONIC=1
exec ${this.binaries.postgres} "$@"
`,
      { mode: 0o755 },
    )
    return script
  }

  /** A superuser's URL of a database. */
  adminUrl(database: string): string {
    if (this.#connection === undefined) throw new Error('Postgres was not started')
    return urlOf({ ...this.#connection, port: this.port }, database)
  }

  /** A new, empty database that belongs to the ordinary role. */
  async createDatabase(name = `faults_${randomBytes(6).toString('hex')}`): Promise<Database> {
    const sql = postgres(this.adminUrl('postgres'), { max: 1, onnotice: () => {} })
    try {
      await sql`CREATE DATABASE ${sql(name)} OWNER ${sql(ROLE)}`
    } finally {
      await sql.end()
    }
    const adminUrl = this.adminUrl(name)
    const url = Object.assign(new URL(adminUrl), { username: ROLE, password: this.#rolePassword }).href
    return { name, url, adminUrl }
  }

  async version(): Promise<string> {
    const sql = postgres(this.adminUrl('postgres'), { max: 1, onnotice: () => {} })
    try {
      const [row] = await sql<{ version: string }[]>`select current_setting('server_version') as version`
      return row?.version ?? ''
    } finally {
      await sql.end()
    }
  }

  async dropDatabase({ name }: Database): Promise<void> {
    const sql = postgres(this.adminUrl('postgres'), { max: 1, onnotice: () => {} })
    try {
      await sql`DROP DATABASE IF EXISTS ${sql(name)} WITH (FORCE)`
    } finally {
      await sql.end()
    }
  }

  /** Stops the server and removes the folder. */
  async close(): Promise<void> {
    const postmaster = await findPostmaster(this.#layout)
    if (postmaster !== undefined) await stopServer(this.#layout, this.binaries, postmaster)
    await clearRemains(this.#layout, createLogger('silent'))
    await rm(this.#folder, { recursive: true, force: true, maxRetries: 5 })
  }

  async #end(name: NodeJS.Signals): Promise<void> {
    const postmaster = this.#postmaster
    if (postmaster === undefined) throw new Error('Postgres does not run')
    this.#postmaster = undefined
    signal(postmaster.pid, name)
    for (const deadline = Date.now() + 30_000; await isAlive(postmaster); await sleep(10)) {
      if (Date.now() > deadline) throw new Error(`Postgres still runs 30 s after ${name}`)
    }
  }
}
