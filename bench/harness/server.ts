import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { accepts } from '../../test/support/listening-program.ts'
import type { Run } from '../run.ts'

/** A contender in a process of its own, which ends with the run that it was started for. */
export interface Server {
  readonly url: string
  readonly pid: number
  /** What it last logged as a warning or worse, or wrote to standard error; for the report of a fault. */
  complaints(): string
}

export interface Program {
  readonly command: readonly [string, ...string[]]
  /** All but PATH: a variable left over in somebody's shell must not change one contender. */
  readonly env?: Readonly<Record<string, string | undefined>>
  /** Where it is ready once it takes connections, or once it has logged `{"msg":"listening","url":…}`; absent: at once. */
  readonly port?: number | 'logged'
  clean?(): Promise<void>
}

/** A run that ends early, by Ctrl-C too, must leave no contender behind to load the next one's machine. */
const running = new Set<ChildProcess>()
process.on('exit', () => {
  for (const child of running) child.kill()
})

const START_TIMEOUT_MS = 60_000
const STOP_TIMEOUT_MS = 15_000

/** Starts a program in the foreground; resolves when it is ready. */
export async function startProgram(run: Pick<Run, 'defer'>, program: Program): Promise<Server> {
  const { command, env, port, clean } = program
  const [file, ...args] = command
  const environment = { PATH: process.env.PATH, ...env }
  const child = spawn(file, args, { env: environment, stdio: ['ignore', 'pipe', 'pipe'] })
  running.add(child)
  const lines: string[] = []
  for (const input of [child.stdout, child.stderr])
    createInterface({ input }).on('line', (line) => {
      lines.push(line)
      if (lines.length > 20) lines.shift()
    })
  let end: string | undefined
  const ended = once(child, 'exit')
    .then(([code, signal]) => `ended with ${signal ?? code}`)
    .catch((error: Error) => error.message)
    .then((how) => {
      running.delete(child)
      end = how
    })
  run.defer(async () => {
    child.kill()
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS)
    await ended
    clearTimeout(timer)
    await clean?.()
  })
  const readyUrl = async () => {
    if (port !== 'logged')
      return port === undefined || (await accepts(port)) ? `http://127.0.0.1:${port}` : undefined
    const line = lines.find((one) => one.includes('"listening"'))
    return line && (JSON.parse(line) as { url: string }).url
  }
  const complaints = () => lines.filter((line) => !line.includes('"level":"info"')).join('; ')
  for (const deadline = performance.now() + START_TIMEOUT_MS; ; await sleep(20)) {
    const url = await readyUrl()
    if (url !== undefined && end === undefined) return { url, pid: child.pid as number, complaints }
    if (end !== undefined || performance.now() > deadline)
      throw new Error(`${command.join(' ')} ${end ?? 'did not listen in time'}: ${complaints()}`)
  }
}
