import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { parseConfig } from '../../src/config.ts'
import { createLogger } from '../../src/observability/log.ts'
import { startService } from '../../src/service.ts'
import { Caller, uniqueName } from './api.ts'
import { createDatabase, type TestDatabase } from './database.ts'
import { signToken, TEST_SECRET } from './token.ts'
import { wayTo } from './way.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

/** Overrides of the environment an instance is configured from, by variable name. */
export type Environment = Readonly<Record<string, string>>

export interface Instance {
  readonly url: string
  readonly adminUrl: string | undefined
  readonly database: TestDatabase
  token(user: string, options?: { expiresIn?: number }): Promise<string>
  /** A user that no other test of the file knows, who calls this instance. */
  caller(name: string): Promise<Caller>
  drain(): Promise<void>
  /** Ends the instance at once, and drops the database where the instance made it. */
  close(): Promise<void>
}

/** An instance in this process, on a database of its own unless one is given. */
export async function startInstance(
  environment: Environment = {},
  options: { database?: TestDatabase } = {},
): Promise<Instance> {
  const database = options.database ?? (await createDatabase())
  const parsed = parseConfig({
    PORT: '0',
    ...wayTo(database.url),
    MIGRATE: 'off',
    JWT_SECRET: TEST_SECRET,
    // A test's crowd shares one address and a few names; what tests the limits switches them on.
    RATE_LIMIT: 'off',
    // It shares its event loop with the test.
    MAX_EVENT_LOOP_DELAY_MS: '10000',
    LOG_LEVEL: 'silent',
    ...environment,
  })
  if (!parsed.ok) throw new Error(`test configuration: ${parsed.problems.join('; ')}`)
  const service = await startService(parsed.config, createLogger(parsed.config.logLevel))
  return {
    url: service.url,
    adminUrl: service.adminUrl,
    database,
    token: signToken,
    caller: async (name) => {
      const user = uniqueName(name)
      return new Caller(service.url, user, await signToken(user))
    },
    drain: () => service.drain(),
    close: async () => {
      await service.close()
      if (options.database === undefined) await database.drop()
    },
  }
}

export interface LogLine {
  readonly msg?: string
  readonly level?: string
  readonly url?: string
}

/** `dist/main.js` in a process of its own, from its start to its end. */
export class MainProcess {
  readonly child: ChildProcess
  /** All it wrote to standard output and standard error. */
  output = ''
  readonly lines: LogLine[] = []
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>

  /**
   * @param options.descriptors how many it may have, `ulimit -n`
   * @param options.root the folder of another version
   */
  constructor(
    environment: Environment,
    { descriptors, root = ROOT }: { descriptors?: number | undefined; root?: string | undefined } = {},
  ) {
    const limited = ['-c', `ulimit -n ${descriptors}; exec "$0" dist/main.js`, process.execPath]
    const [command, args] = descriptors === undefined ? [process.execPath, ['dist/main.js']] : ['sh', limited]
    this.child = spawn(command, args, {
      cwd: root,
      // Nothing of the developer's own environment may configure the instance.
      env: { PATH: process.env.PATH, HOME: process.env.HOME, ...environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const { stdout, stderr } = this.child
    if (stdout === null || stderr === null) throw new Error('no pipes')
    for (const pipe of [stdout, stderr])
      createInterface({ input: pipe }).on('line', (line) => {
        this.output += `${line}\n`
        if (line.startsWith('{')) this.lines.push(JSON.parse(line))
        this.child.emit('line')
      })
    this.exited = once(this.child, 'close').then(([code, signal]) => ({ code, signal }))
  }

  /** The address from the line logged at start; rejects where the process ends or 30 s pass before it. */
  async listening(): Promise<string> {
    let ended = false
    const timeout = AbortSignal.timeout(30_000)
    void this.exited.then(() => {
      ended = true
      this.child.emit('line')
    })
    for (;;) {
      const line = this.lines.find(({ msg, url }) => url !== undefined && msg?.includes('listening'))
      if (line?.url !== undefined) return line.url
      if (ended || timeout.aborted) throw new Error(`main.js did not listen:\n${this.output}`)
      await once(this.child, 'line', { signal: timeout }).catch(() => undefined)
    }
  }

  /** Sends the signal and waits for the end. */
  async kill(signal: NodeJS.Signals): Promise<{ code: number | null; signal: NodeJS.Signals | null }> {
    this.child.kill(signal)
    return this.exited
  }
}

/** An instance in a process of its own that is already listening; the caller ends it with `kill`. */
export async function spawnInstance(
  environment: Environment & { DATABASE_URL: string },
  options: { root?: string } = {},
): Promise<MainProcess & { url: string }> {
  const variables = {
    PORT: '0',
    JWT_SECRET: TEST_SECRET,
    RATE_LIMIT: 'off',
    MAX_EVENT_LOOP_DELAY_MS: '10000',
    LOG_LEVEL: 'info',
    ...environment,
    ...wayTo(environment.DATABASE_URL),
  }
  const main = new MainProcess(variables, options)
  try {
    return Object.assign(main, { url: await main.listening() })
  } catch (error) {
    main.child.kill('SIGKILL')
    throw error
  }
}
