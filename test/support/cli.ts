import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { PassThrough } from 'node:stream'
import { text } from 'node:stream/consumers'
import type { WriteStream } from 'node:tty'
import { fileURLToPath } from 'node:url'
import { runProgram } from '../../src/cli/program.ts'

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))

export interface Invocation {
  readonly environment?: Readonly<Record<string, string>>
  /** Where it runs; a folder without .env unless the test wants one. */
  readonly cwd?: string
  /** Preloaded as a module, to plant what only the process itself can be wrong about. */
  readonly preload?: string
}

export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** `glimpse …` as a user starts it, of the build. Nothing of the developer's own environment configures it. */
export function spawnGlimpse(
  args: readonly string[],
  { environment = {}, cwd = '/', preload }: Invocation = {},
): ChildProcess {
  return spawn(process.execPath, [MAIN, ...args], {
    cwd,
    env: {
      PATH: process.env.PATH,
      HOME: process.env.HOME,
      ...(preload === undefined
        ? {}
        : { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(preload)}` }),
      ...environment,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
}

/** The same until its end. */
export async function glimpse(args: readonly string[], invocation: Invocation = {}): Promise<Ended> {
  const child = spawnGlimpse(args, invocation)
  const output = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const)
    child[name]?.setEncoding('utf8').on('data', (chunk: string) => {
      output[name] += chunk
    })
  const [code] = await once(child, 'close')
  return { code, ...output }
}

/** A command under way in this process. */
export interface Running {
  readonly stdout: PassThrough
  readonly stderr: PassThrough
  readonly exited: Promise<number>
  /** Ctrl-C. */
  interrupt(): void
}

/** Starts it in this process, where a process takes half a second of work: without signals, .env and a folder of its own. */
export function startGlimpseHere(
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Running {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()]
  const interruption = new AbortController()
  const exited = runProgram(args, {
    environment,
    stdout: stdout as unknown as WriteStream,
    stderr: stderr as unknown as WriteStream,
    interrupted: interruption.signal,
  }).finally(() => {
    stdout.end()
    stderr.end()
  })
  return { stdout, stderr, exited, interrupt: () => interruption.abort() }
}

/** The same until its end. */
export async function glimpseHere(
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<Ended> {
  const { exited, ...output } = startGlimpseHere(args, environment)
  const [code, stdout, stderr] = await Promise.all([exited, text(output.stdout), text(output.stderr)])
  return { code, stdout, stderr }
}
