import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { NatsServer, withoutNats } from '../../support/nats-server.ts'
import type { Bench } from './bench.ts'
import { until } from './crowd.ts'
import { stablePort } from './ports.ts'
import type { Database, PostgresServer } from './postgres-server.ts'
import type { Prepared } from './setup.ts'

/** Real NATS servers for the instances of a scenario. */
export class NatsStage {
  servers: readonly NatsServer[] = []
  #monitor = 0
  readonly #options: {
    readonly servers?: number
    /** Variables beside BUS_URL. */
    readonly environment?: Readonly<Record<string, string>>
  }

  constructor(options: { servers?: number; environment?: Readonly<Record<string, string>> } = {}) {
    this.#options = options
  }

  /** A scenario's `skip`. */
  readonly skip = () => withoutNats

  /** A scenario's `prepare`. */
  readonly prepare = async (_server: PostgresServer, _database: Database): Promise<Prepared> => {
    const { servers = 1, environment = {} } = this.#options
    this.#monitor = await stablePort()
    if (servers === 1) this.servers = [await NatsServer.start({ args: ['-m', String(this.#monitor)] })]
    else {
      const ports = await Promise.all(Array.from({ length: servers }, () => stablePort()))
      this.servers = await Promise.all(
        ports.map((port) =>
          NatsServer.start({ cluster: { port, routes: ports.filter((other) => other !== port) } }),
        ),
      )
    }
    return {
      environment: { BUS_URL: this.servers.map(({ url }) => url).join(','), ...environment },
      close: async () => {
        for (const server of this.servers) server.signal('SIGCONT')
        await Promise.all(this.servers.map((server) => server.kill()))
      },
    }
  }

  get server(): NatsServer {
    const [server] = this.servers
    if (server === undefined) throw new Error('no NATS server')
    return server
  }

  /** How many clients the only server has cut because they read too slowly (NATS, Monitoring: /varz). */
  async slowConsumers(): Promise<number> {
    const answer = await fetch(`http://127.0.0.1:${this.#monitor}/varz`)
    return ((await answer.json()) as { slow_consumers: number }).slow_consumers
  }
}

/** The instance that relays; undefined while none does. */
export async function relayingInstance(bench: Bench): Promise<number | undefined> {
  const relaying = await Promise.all(
    bench.instances.map((instance) => instance.metric('glimpse_bus_relaying').catch(() => 0)),
  )
  const at = relaying.indexOf(1)
  return at === -1 ? undefined : at
}

/** Waits until so many instances listen to Postgres in the stead of NATS. */
export function untilFallback(bench: Bench, count: number, timeoutMs: number): Promise<boolean> {
  return until(timeoutMs, async () => {
    const fallbacks = await Promise.all(
      bench.instances.map((instance) => instance.metric('glimpse_bus_fallback').catch(() => Number.NaN)),
    )
    return fallbacks.filter((each) => each === 1).length === count
  })
}

/** Looks at readiness all the while; at each instant some instance must be there for the balancer. */
export async function whileReady(bench: Bench, work: () => Promise<void>): Promise<void> {
  let over = false
  let worst = bench.instances.length
  const watching = (async () => {
    while (!over) {
      const ready = await Promise.all(bench.instances.map((instance) => instance.ready()))
      worst = Math.min(worst, ready.filter(Boolean).length)
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  })()
  try {
    await work()
  } finally {
    over = true
    await watching
  }
  bench.note(`ready at each instant: at least ${worst} of ${bench.instances.length} instances`)
  bench.must(worst > 0, 'never are all instances unready')
}

/** `glimpse relay` in a process of its own. */
export class RelayProcess {
  readonly #child: ChildProcess
  readonly #exited: Promise<unknown>
  readonly #since = performance.now()
  #lines: string[] = []
  relaying = false
  /** Whether it has come as far as NATS, soon after which it can take over. */
  connected = false
  /** How often it was elected. */
  elections = 0

  constructor(bench: Bench, environment: Readonly<Record<string, string>>) {
    const program = join(dirname(bench.main), 'cli', 'main.js')
    this.#child = spawn(process.execPath, [program, 'relay'], {
      env: { PATH: process.env.PATH, HOME: process.env.HOME, LOG_LEVEL: 'info', ...environment },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    this.#exited = once(this.#child, 'close')
    const { stdout } = this.#child
    if (stdout !== null)
      createInterface({ input: stdout }).on('line', (line) => {
        this.#lines = [...this.#lines.slice(-20), line]
        if (line.includes('relaying from Postgres to NATS')) {
          this.relaying = true
          this.elections++
        }
        if (line.includes('no longer relaying')) this.relaying = false
        if (line.includes('connected to NATS')) this.connected = true
      })
    void this.#exited.then(() => {
      this.relaying = false
    })
  }

  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.#child.kill(signal)
  }

  async end(signal: NodeJS.Signals): Promise<void> {
    this.#child.kill(signal)
    if (signal !== 'SIGKILL') this.#child.kill('SIGCONT')
    await this.#exited
  }

  get output(): string {
    return `after ${Math.round(performance.now() - this.#since)} ms:\n${this.#lines.join('\n')}`
  }
}
