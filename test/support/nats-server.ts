import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { stablePort } from '../faults/prover/ports.ts'
import { ListeningProgram, SERVER_PATH } from './listening-program.ts'

const START_LIMIT_MS = 20_000

/** The version of the nats-server that is installed, such as `v2.9.10`; undefined where there is none. */
export function natsServerVersion(): string | undefined {
  const { status, stdout } = spawnSync('nats-server', ['--version'], {
    env: { PATH: SERVER_PATH },
    encoding: 'utf8',
  })
  return status === 0 ? stdout.trim().split(' ').at(-1) : undefined
}

/** A reason for a test to be skipped; undefined where it can run. */
export const withoutNats = natsServerVersion() === undefined ? 'nats-server is not installed' : undefined

export const NATS_PASSWORDS = {
  relay: 'password-of-the-relay',
  instance: 'password-of-an-instance',
  both: 'password-of-both',
} as const

/** The sample that operators copy. */
export const NATS_SAMPLE = fileURLToPath(new URL('../../deploy/nats.conf', import.meta.url))

export interface NatsServerOptions {
  /** Without one, everybody may say and hear everything. */
  readonly config?: string
  /** Servers of a cluster: the port that this one is found on by others, and theirs. */
  readonly cluster?: { readonly port: number; readonly routes: readonly number[] }
  readonly args?: readonly string[]
}

/** A real nats-server. */
export class NatsServer {
  readonly port: number
  readonly #program: ListeningProgram

  private constructor(port: number, args: readonly string[]) {
    this.port = port
    this.#program = new ListeningProgram({
      command: 'nats-server',
      args: ['-a', '127.0.0.1', '-p', String(port), ...args],
      port,
      startLimitMs: START_LIMIT_MS,
      environment: {
        GLIMPSE_RELAY_PASSWORD: NATS_PASSWORDS.relay,
        GLIMPSE_INSTANCE_PASSWORD: NATS_PASSWORDS.instance,
        GLIMPSE_BOTH_PASSWORD: NATS_PASSWORDS.both,
      },
    })
  }

  static async start({ config, cluster, args = [] }: NatsServerOptions = {}): Promise<NatsServer> {
    const clustered =
      cluster === undefined
        ? []
        : [
            ...['--cluster_name', 'test', '--cluster', `nats://127.0.0.1:${cluster.port}`],
            ...['--routes', cluster.routes.map((port) => `nats://127.0.0.1:${port}`).join(',')],
          ]
    const server = new NatsServer(await stablePort(), [
      ...(config === undefined ? [] : ['-c', config]),
      ...clustered,
      ...args,
    ])
    await server.launch()
    return server
  }

  get url(): string {
    return `nats://127.0.0.1:${this.port}`
  }

  urlFor(user: keyof typeof NATS_PASSWORDS): string {
    return `nats://${user}:${NATS_PASSWORDS[user]}@127.0.0.1:${this.port}`
  }

  /** Resolves once it takes connections; again after it was killed, too. */
  launch(): Promise<void> {
    return this.#program.launch()
  }

  /** SIGSTOP has it hold its connections and say nothing, until SIGCONT. */
  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.#program.signal(signal)
  }

  /** Ends it at once; everybody's connections are cut. */
  kill(): Promise<void> {
    return this.#program.kill()
  }
}
