import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { StartError } from '../errors.ts'
import type { Logger } from '../observability/log.ts'
import type { Binaries } from './binaries.ts'
import { freePort } from './connection.ts'
import { adopt, type Layout } from './layout.ts'
import { findPostmaster, type Postmaster } from './postmaster.ts'
import { isAlive, signal } from './process.ts'
import { commandLine, ENVIRONMENT, type RunAs } from './run-as.ts'
import { openServerLog, readServerLog, reasonIn } from './server-log.ts'

export type Settings = Readonly<Record<string, string>>

const DEFAULTS: Settings = {
  max_connections: '100',
  log_checkpoints: 'off',
  log_timezone: 'UTC',
  timezone: 'UTC',
}

const BIND_ATTEMPTS = 3
const ORPHAN_PATIENCE_MS = 60_000

interface LaunchOptions {
  readonly port: number
  readonly settings: Settings
  readonly log: Logger
  /** Stops waiting for the server. */
  readonly signal?: AbortSignal | undefined
}

/** Starts a server on the folder and resolves when it accepts connections; called under the lock. */
export async function startServer(
  layout: Layout,
  binaries: Binaries,
  way: RunAs,
  options: LaunchOptions,
): Promise<Postmaster> {
  const deadline = Date.now() + ORPHAN_PATIENCE_MS
  let binds = 0
  for (;;) {
    const port = await freePort(binds === 0 ? options.port : 0)
    const outcome = await launch(layout, binaries, way, { ...options, port })
    if (typeof outcome !== 'string') return outcome
    // Another program took the port before Postgres did: try another port.
    if (outcome.includes('Address already in use') && ++binds < BIND_ATTEMPTS) continue
    // Orphans of a killed server that we cannot find (not on Linux, or no permission) end by themselves.
    if (outcome.includes('pre-existing shared memory') && Date.now() < deadline) {
      await sleep(500)
      continue
    }
    throw new StartError(
      `DATA_DIR ${layout.dataDir}: Postgres did not start: ${reasonIn(outcome) ?? 'it wrote no reason; is the disk full?'}`,
    )
  }
}

/** The running server; or its output if it failed to start. */
async function launch(
  layout: Layout,
  binaries: Binaries,
  way: RunAs,
  { port, settings, log, signal: interrupted }: LaunchOptions,
): Promise<Postmaster | string> {
  const output = await openServerLog(layout.log)
  await adopt(layout, layout.log)
  const [command, args] = commandLine(way, binaries.postgres, ['-D', layout.data, ...flags(port, settings)])
  // A session of its own, so that Ctrl-C in our terminal does not end a server that other processes share.
  const child = spawn(command, args, {
    detached: true,
    stdio: ['ignore', output.fd, output.fd],
    env: ENVIRONMENT,
    cwd: '/',
    windowsHide: true,
    ...way.account,
  })
  const state: { reason?: string } = {}
  child.once('error', (error) => {
    state.reason = error.message
  })
  child.once('exit', (code, signal) => {
    state.reason ??= `exited with ${code ?? signal}`
  })
  child.unref()
  await output.close()

  const ready = await untilReady(layout, log, () => {
    // The code that catches it stops the server.
    interrupted?.throwIfAborted()
    return state.reason !== undefined
  })
  if (ready !== undefined) return ready
  return `${state.reason}\n${await readServerLog(layout.log, output.offset)}`
}

/** Waits as long as the server needs, because crash recovery may take minutes. Undefined if it is gone. */
export async function untilReady(
  layout: Layout,
  log: Logger,
  gone: () => boolean | Promise<boolean>,
): Promise<Postmaster | undefined> {
  for (let waited = 0; ; waited += 20) {
    const postmaster = await findPostmaster(layout)
    if (postmaster?.ready) return postmaster
    if (await gone()) return undefined
    if (waited > 0 && waited % 10_000 === 0)
      log.warn({ log: layout.log }, 'still waiting for embedded Postgres')
    await sleep(20)
  }
}

function flags(port: number, settings: Settings): string[] {
  const all = {
    ...DEFAULTS,
    listen_addresses: '127.0.0.1',
    // No Unix socket: its path may have at most 107 bytes, and the path of a data folder may be longer.
    unix_socket_directories: '',
    ...settings,
    port: String(port),
  }
  return Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`])
}

/** Fast shutdown: ends sessions and writes a checkpoint. If it takes over half a minute: immediate shutdown, then SIGKILL. */
export async function stopServer(layout: Layout, binaries: Binaries, postmaster: Postmaster): Promise<void> {
  if (process.platform === 'win32') {
    // Windows has no signals; pg_ctl speaks to the server through a named pipe.
    await once(
      spawn(binaries.pg_ctl, ['stop', '-D', layout.data, '-m', 'fast'], { windowsHide: true }),
      'close',
    )
    return
  }
  for (const [name, patience] of [
    ['SIGINT', 30_000],
    ['SIGQUIT', 10_000],
    ['SIGKILL', 10_000],
  ] as const) {
    signal(postmaster.pid, name)
    for (let waited = 0; waited < patience; waited += 20) {
      if (!(await isAlive(postmaster))) return
      await sleep(20)
    }
  }
}
