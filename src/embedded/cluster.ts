import { spawn } from 'node:child_process'
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { StartError } from '../errors.ts'
import type { Binaries } from './binaries.ts'
import { newConnection, ROLE, readConnection, writeConnection } from './connection.ts'
import type { Layout } from './layout.ts'
import { commandLine, ENVIRONMENT, handOver, type RunAs } from './run-as.ts'
import { reasonIn } from './server-log.ts'

/**
 * Creates the data folder if it is missing; called under the lock. initdb works in another folder that is renamed when
 * complete, so that an interrupted initdb never looks like a database. Its remains are removed here.
 */
export async function ensureCluster(
  layout: Layout,
  binaries: Binaries,
  way: RunAs,
  durable: boolean,
): Promise<void> {
  for (const name of await readdir(layout.home)) {
    if (name.startsWith('initdb-'))
      await rm(join(layout.home, name), { recursive: true, force: true, maxRetries: 5 })
  }
  const madeBy = await majorVersion(layout)
  const known = await readConnection(layout)
  if (madeBy !== undefined) {
    checkVersion(layout, madeBy, await versionOf(binaries, way))
    if (known === undefined) {
      throw new StartError(
        `DATA_DIR ${layout.dataDir}: ${layout.connection}, which holds the database's password, is missing: put it back, or move that folder away to start with an empty database`,
      )
    }
    return
  }

  const connection = known ?? newConnection()
  await writeConnection(layout, connection)
  const workshop = join(layout.home, `initdb-${crypto.randomUUID()}`)
  const data = join(workshop, 'data')
  const passwordFile = join(workshop, 'password')
  await mkdir(data, { recursive: true, mode: 0o700 })
  await writeFile(passwordFile, connection.password, { mode: 0o600 })
  for (const path of [workshop, data, passwordFile]) handOver(way, path)
  try {
    await initdb(layout, binaries, way, [
      '-D',
      data,
      `--pwfile=${passwordFile}`,
      ...(durable ? [] : ['--no-sync']),
    ])
    // initdb has synced the contents; a rename within one file system is atomic.
    await rename(data, layout.data)
  } finally {
    await rm(workshop, { recursive: true, force: true, maxRetries: 5 })
  }
}

async function initdb(
  layout: Layout,
  binaries: Binaries,
  way: RunAs,
  args: readonly string[],
): Promise<void> {
  const { code, output } = await run(binaries.initdb, way, [
    ...args,
    `--username=${ROLE}`,
    '--auth=scram-sha-256',
    '--encoding=UTF8',
    '--locale=C',
    // The builtin locale C.UTF-8 of Postgres sorts the same on every machine.
    '--locale-provider=builtin',
    '--builtin-locale=C.UTF-8',
    '--no-instructions',
  ])
  if (code !== 0) {
    throw new StartError(
      `DATA_DIR ${layout.dataDir}: Postgres could not set up a database: ${reasonIn(output) ?? `initdb exited with ${code}`}`,
    )
  }
}

async function majorVersion(layout: Layout): Promise<string | undefined> {
  try {
    return (await readFile(join(layout.data, 'PG_VERSION'), 'utf8')).trim()
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw new StartError(`DATA_DIR ${layout.dataDir} can't be read: ${(cause as Error).message}`, { cause })
  }
}

async function versionOf(binaries: Binaries, way: RunAs): Promise<string> {
  const { output } = await run(binaries.postgres, way, ['--version'])
  return /\) (\d+)/.exec(output)?.[1] ?? ''
}

function checkVersion(layout: Layout, madeBy: string, ours: string): void {
  if (madeBy !== ours) {
    throw new StartError(
      `DATA_DIR ${layout.dataDir} was made by Postgres ${madeBy}; this is Postgres ${ours}: set another DATA_DIR, or move that folder away to start with an empty database`,
    )
  }
}

function run(
  program: string,
  way: RunAs,
  args: readonly string[],
): Promise<{ code: number | string | null; output: string }> {
  return new Promise((resolve) => {
    const [command, rest] = commandLine(way, program, args)
    const child = spawn(command, rest, {
      env: ENVIRONMENT,
      cwd: '/',
      stdio: ['ignore', 'pipe', 'pipe'],
      ...way.account,
    })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text
      })
    }
    child.once('error', (error) => resolve({ code: 'an error', output: error.message }))
    child.once('close', (code, signal) => resolve({ code: code ?? signal, output }))
  })
}
