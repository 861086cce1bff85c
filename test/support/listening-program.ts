import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/** Distributions put servers into sbin, which is not in everybody's path. */
export const SERVER_PATH = `${process.env.PATH}:/usr/sbin:/usr/local/sbin`

export interface ProgramOptions {
  readonly command: string
  readonly args: readonly string[]
  /** On 127.0.0.1. */
  readonly port: number
  readonly startLimitMs: number
  readonly environment?: Readonly<Record<string, string>>
}

/** A server of the distribution that listens on a port, and can be killed and started again there. */
export class ListeningProgram {
  readonly port: number
  readonly #options: ProgramOptions
  #child: ChildProcess | undefined
  #output = ''

  constructor(options: ProgramOptions) {
    this.port = options.port
    this.#options = options
  }

  /** Resolves once it takes connections; again after it was killed, too. */
  async launch(): Promise<void> {
    const { command, args, port, startLimitMs, environment = {} } = this.#options
    const child = spawn(command, args, {
      env: { PATH: SERVER_PATH, ...environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#child = child
    for (const pipe of [child.stdout, child.stderr])
      pipe.setEncoding('utf8').on('data', (text: string) => {
        this.#output = `${this.#output}${text}`.slice(-10_000)
      })
    const until = performance.now() + startLimitMs
    while (!(await accepts(port))) {
      if (child.exitCode !== null || performance.now() > until)
        throw new Error(`${command} does not listen:\n${this.#output}`)
      await sleep(20)
    }
  }

  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.#child?.kill(signal)
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
}

/** Whether something takes connections there. */
export function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port })
    socket.once('error', () => resolve(false))
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
  })
}
