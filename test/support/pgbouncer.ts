import { spawnSync } from 'node:child_process'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stablePort } from '../faults/prover/ports.ts'
import { ListeningProgram, SERVER_PATH } from './listening-program.ts'

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
  const { status, stdout } = spawnSync('pgbouncer', ['--version'], {
    env: { PATH: SERVER_PATH },
    encoding: 'utf8',
  })
  return status === 0 ? /PgBouncer (\S+)/.exec(stdout)?.[1] : undefined
}

/** A real PgBouncer before Postgres, for every database of it. */
export class PgBouncer {
  readonly port: number
  readonly #folder: string
  readonly #program: ListeningProgram

  private constructor(port: number, folder: string) {
    this.port = port
    this.#folder = folder
    const user = process.getuid?.() === 0 ? ['-u', 'nobody'] : []
    this.#program = new ListeningProgram({
      command: 'pgbouncer',
      args: [...user, join(folder, 'pgbouncer.ini')],
      port,
      startLimitMs: START_LIMIT_MS,
    })
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
  launch(): Promise<void> {
    return this.#program.launch()
  }

  /** Ends it at once; everybody's connections are cut. */
  kill(): Promise<void> {
    return this.#program.kill()
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
