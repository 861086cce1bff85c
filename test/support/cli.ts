import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

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
    child[name]?.setEncoding('utf8').on('data', (text: string) => {
      output[name] += text
    })
  const [code] = await once(child, 'close')
  return { code, ...output }
}
