import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { TEST_SECRET } from '../../support/token.ts'
import { stablePort } from './ports.ts'

/** A run that ends early must leave no instance behind. */
const running = new Set<ChildProcess>()
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

const START_TIMEOUT_MS = 60_000
const INSPECT_TIMEOUT_MS = 15_000
/** How a line begins by which a preloaded module answers. */
const FINDINGS = 'findings '

export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  /** From the signal to the end. */
  readonly afterMs: number
}

/** What the machine gives an instance; what isn't said is as the machine has it. */
export interface Machine {
  /** How many it may have, `ulimit -n`. */
  readonly descriptors?: number
  /** The file that its standard output goes to, instead of a pipe that is read. */
  readonly log?: string
}

/** One instance of the service as a process, always on the same port, which may be killed and started again. */
export class Instance {
  readonly url: string
  readonly #main: string
  readonly #environment: Readonly<Record<string, string>>
  /** How it ended where nobody had asked it to, each time with its last words. */
  readonly deaths: string[] = []
  #child: ChildProcess | undefined
  #asked = false
  #exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }> | undefined
  #lastLines: string[] = []
  #machine: Machine = {}
  #found: (line: string) => void = () => {}

  private constructor(main: string, port: number, environment: Readonly<Record<string, string>>) {
    this.#main = main
    this.url = `http://127.0.0.1:${port}`
    this.#environment = { ...environment, PORT: String(port) }
  }

  /** Not yet started. */
  static async create(main: string, environment: Readonly<Record<string, string>>): Promise<Instance> {
    return new Instance(main, await stablePort(), {
      JWT_SECRET: TEST_SECRET,
      RATE_LIMIT: 'off',
      LOG_LEVEL: 'info',
      ...environment,
    })
  }

  /** The process id; undefined where it does not run. */
  get pid(): number | undefined {
    return this.#child?.pid
  }

  /** What it calls itself in its log lines; undefined before the first. */
  get name(): string | undefined {
    return /"instance":"([^"]+)"/.exec(this.output)?.[1]
  }

  /** What it wrote last, for a report of why it failed. */
  get output(): string {
    return this.#lastLines.join('\n')
  }

  /** Starts it without waiting. */
  launch(): void {
    if (this.#child !== undefined) throw new Error(`${this.url} runs already`)
    const { descriptors, log } = this.#machine
    const output = log === undefined ? 'pipe' : openSync(log, 'a')
    const limit = descriptors === undefined ? '' : `ulimit -n ${descriptors};`
    const child = spawn('sh', ['-c', `${limit} exec "$0" "$1"`, process.execPath, this.#main], {
      // Nothing of the developer's own environment may configure the instance.
      env: { PATH: process.env.PATH, HOME: process.env.HOME, ...this.#environment },
      stdio: ['ignore', output, 'pipe'],
    })
    if (typeof output === 'number') closeSync(output)
    running.add(child)
    this.#child = child
    this.#asked = false
    this.#lastLines = []
    for (const pipe of [child.stdout, child.stderr]) {
      if (pipe === null) continue
      createInterface({ input: pipe }).on('line', (line) => {
        if (line.startsWith(FINDINGS)) {
          this.#found(line.slice(FINDINGS.length))
          return
        }
        this.#lastLines.push(line)
        if (this.#lastLines.length > 30) this.#lastLines.shift()
      })
    }
    this.#exited = once(child, 'close').then(([code, signal]) => {
      running.delete(child)
      if (this.#child === child) this.#child = undefined
      if (!this.#asked) this.deaths.push(`${this.url} ended by itself (${signal ?? code}):\n${this.output}`)
      return { code, signal }
    })
  }

  /** Starts it and waits until an event sent now would arrive. */
  async start(): Promise<void> {
    this.launch()
    const deadline = performance.now() + START_TIMEOUT_MS
    while (!(await this.ready())) {
      if (this.#child === undefined) throw new Error(`the instance ended:\n${this.output}`)
      if (performance.now() > deadline) throw new Error(`the instance is not ready:\n${this.output}`)
      await new Promise((resolve) => setTimeout(resolve, 25))
    }
  }

  /** Ends it as an operator would and starts it on what is from now on its machine. */
  async moveTo(machine: Machine): Promise<void> {
    if (this.#child !== undefined) await this.end('SIGTERM')
    this.#machine = machine
    await this.start()
  }

  /** Whether somebody reads the pipe that its standard output is. */
  set logRead(read: boolean) {
    if (read) this.#child?.stdout?.resume()
    else this.#child?.stdout?.pause()
  }

  /** Sends a signal, and waits for nothing. */
  signal(name: NodeJS.Signals): void {
    this.#child?.kill(name)
  }

  /** Sends a signal and waits for the end. */
  async end(name: NodeJS.Signals): Promise<Exit> {
    if (this.#child === undefined || this.#exited === undefined)
      throw new Error(`${this.url} does not run:\n${this.output}`)
    const sentAt = performance.now()
    this.#asked = true
    this.#child.kill(name)
    const exit = await this.#exited
    return { ...exit, afterMs: performance.now() - sentAt }
  }

  /** Whether `/readyz` says yes; no where it does not answer within a second. */
  async ready(): Promise<boolean> {
    return fetch(`${this.url}/readyz`, { signal: AbortSignal.timeout(1000) }).then(
      async (response) => {
        await response.arrayBuffer()
        return response.status === 200
      },
      () => false,
    )
  }

  /** The value of a metric, labels included in the name as Prometheus writes them; 0 where it isn't there. */
  async metric(name: string): Promise<number> {
    const text = await (await fetch(`${this.url}/metrics`)).text()
    const line = text.split('\n').find((candidate) => candidate.startsWith(`${name} `))
    return Number(line?.slice(name.length + 1) ?? 0)
  }

  /**
   * What a module that was loaded into it by NODE_OPTIONS (census.mjs, outboxes.mjs) says when it is asked by SIGUSR2.
   */
  async inspect<Findings>(): Promise<Findings> {
    if (this.#child === undefined) throw new Error(`${this.url} does not run:\n${this.output}`)
    const findings = new Promise<Findings>((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`${this.url} does not say what it holds:\n${this.output}`)),
        INSPECT_TIMEOUT_MS,
      )
      this.#found = (line) => {
        clearTimeout(timer)
        resolve(JSON.parse(line))
      }
    })
    this.#child.kill('SIGUSR2')
    return findings
  }

  /** Ends it whatever state it is in. */
  async close(): Promise<void> {
    if (this.#child !== undefined) await this.end('SIGKILL')
  }
}
