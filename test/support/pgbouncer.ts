import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { stablePort } from '../faults/prover/ports.ts'

// Distributions put it into sbin, which is not in everybody's path.
const PATH = `${process.env.PATH}:/usr/sbin:/usr/local/sbin`

const START_LIMIT_MS = 10_000

export type PoolMode = 'session' | 'transaction'

export interface PgBouncerOptions {
  /** Where Postgres listens on 127.0.0.1. */
  readonly port: number
  readonly mode: PoolMode
  /** Names and passwords of the roles that come this way. */
  readonly users: readonly { readonly name: string; readonly password: string }[]
  /** Lines of the section [pgbouncer], by name. */
  readonly settings?: Readonly<Record<string, string | number>>
}

/** The version of the PgBouncer that is installed, such as `1.18.0`; undefined where there is none. */
export function pgBouncerVersion(): string | undefined {
  const { status, stdout } = spawnSync('pgbouncer', ['--version'], { env: { PATH }, encoding: 'utf8' })
  return status === 0 ? /PgBouncer (\S+)/.exec(stdout)?.[1] : undefined
}

/** A real PgBouncer before Postgres, for every database of it. */
export class PgBouncer {
  readonly port: number
  readonly #folder: string
  #child: ChildProcess | undefined
  #output = ''

  private constructor(port: number, folder: string) {
    this.port = port
    this.#folder = folder
  }

  static async start({ port, mode, users, settings = {} }: PgBouncerOptions): Promise<PgBouncer> {
    const bouncer = new PgBouncer(await stablePort(), await mkdtemp(join(tmpdir(), 'glimpse-pgbouncer-')))
    const userList = join(bouncer.#folder, 'users.txt')
    await writeFile(userList, users.map(({ name, password }) => `"${name}" "${password}"\n`).join(''))
    const lines = {
      listen_addr: '127.0.0.1',
      listen_port: bouncer.port,
      unix_socket_dir: '',
      auth_type: 'scram-sha-256',
      auth_file: userList,
      pool_mode: mode,
      max_client_conn: 1000,
      default_pool_size: 20,
      ...settings,
    }
    const section = Object.entries(lines).map(([name, value]) => `${name} = ${value}\n`)
    await writeFile(
      join(bouncer.#folder, 'pgbouncer.ini'),
      `[databases]\n* = host=127.0.0.1 port=${port}\n\n[pgbouncer]\n${section.join('')}`,
    )
    // As root it becomes somebody else before it reads them.
    await chmod(bouncer.#folder, 0o755)
    await bouncer.launch()
    return bouncer
  }

  /** Starts it again on the same port, after `kill`. */
  async launch(): Promise<void> {
    const user = process.getuid?.() === 0 ? ['-u', 'nobody'] : []
    const child = spawn('pgbouncer', [...user, join(this.#folder, 'pgbouncer.ini')], {
      env: { PATH },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#child = child
    for (const pipe of [child.stdout, child.stderr])
      pipe.setEncoding('utf8').on('data', (text: string) => {
        this.#output = `${this.#output}${text}`.slice(-10_000)
      })
    const until = performance.now() + START_LIMIT_MS
    while (!(await accepts(this.port))) {
      if (child.exitCode !== null || performance.now() > until)
        throw new Error(`pgbouncer does not listen:\n${this.#output}`)
      await sleep(20)
    }
  }

  /** Ends it at once; everybody's connections are cut. */
  async kill(): Promise<void> {
    const child = this.#child
    this.#child = undefined
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const closed = once(child, 'close')
    child.kill('SIGKILL')
    await closed
  }

  /** The same URL by way of it. */
  urlFor(url: string): string {
    return Object.assign(new URL(url), { host: `127.0.0.1:${this.port}` }).href
  }

  async stop(): Promise<void> {
    await this.kill()
    await rm(this.#folder, { recursive: true, force: true })
  }
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port })
    socket.once('error', () => resolve(false))
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
  })
}
