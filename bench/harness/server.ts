import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { createInterface } from 'node:readline'

/** A contender in a process of its own. */
export interface Server {
  readonly url: string
  readonly pid: number
  /** What it last logged as a warning or worse, or wrote to standard error; for the report of a fault. */
  complaints(): string
  stop(): Promise<void>
}

export interface Program {
  readonly file: string
  readonly env?: Readonly<Record<string, string>>
  readonly nodeOptions?: readonly string[]
}

/** A peer that is no Node program: started in the foreground, ready when its port, where it has one, takes connections. */
export interface Daemon {
  readonly command: readonly [string, ...string[]]
  readonly port?: number
  clean(): Promise<void>
}

/** A run that ends early, by Ctrl-C too, must leave no contender behind to load the next one's machine. */
const running = new Map<ChildProcess, NodeJS.Signals>()
process.on('exit', () => {
  for (const [child, signal] of running) child.kill(signal)
})

const START_TIMEOUT_MS = 30_000
const STOP_TIMEOUT_MS = 15_000

/**
 * Starts `node file` and waits for its line `{"msg":"listening","url":…}`. The environment is only what is given
 * and PATH: a variable left over in somebody's shell must not change one contender.
 */
export async function startServer(program: Program): Promise<Server> {
  const child = spawn(process.execPath, [...(program.nodeOptions ?? []), program.file], {
    env: { PATH: process.env.PATH, ...program.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  running.set(child, 'SIGKILL')
  child.once('exit', () => running.delete(child))
  const lastLines: string[] = []
  const keep = (line: string) => {
    lastLines.push(line)
    if (lastLines.length > 20) lastLines.shift()
  }
  createInterface({ input: child.stderr }).on('line', keep)
  const url = await new Promise<string>((resolve, reject) => {
    const fail = (what: string) => reject(new Error(`${program.file} ${what}:\n${lastLines.join('\n')}`))
    const timer = setTimeout(() => {
      child.kill('SIGKILL')
      fail(`did not listen within ${START_TIMEOUT_MS} ms`)
    }, START_TIMEOUT_MS)
    child.once('error', reject)
    child.once('exit', (code, signal) => {
      clearTimeout(timer)
      fail(`ended with ${signal ?? code}`)
    })
    createInterface({ input: child.stdout }).on('line', (line) => {
      keep(line)
      const found = listeningUrl(line)
      if (found === undefined) return
      clearTimeout(timer)
      resolve(found)
    })
  })
  return {
    url,
    pid: child.pid as number,
    complaints: () => lastLines.filter((line) => !line.includes('"level":"info"')).join('; '),
    stop: () => stop(child),
  }
}

function listeningUrl(line: string): string | undefined {
  if (!line.includes('"listening"')) return undefined
  const { msg, url } = JSON.parse(line) as { msg?: string; url?: string }
  return msg === 'listening' ? url : undefined
}

/** As `startServer`, for other programs than ours. Its children are its own to end, and ended with it. */
export async function startDaemon({ command: [file, ...args], port, clean }: Daemon): Promise<Server> {
  const child = spawn(file, args, { stdio: ['ignore', 'ignore', 'pipe'] })
  // Killed outright it would leave its own children behind.
  running.set(child, 'SIGTERM')
  const lastLines: string[] = []
  createInterface({ input: child.stderr }).on('line', (line) => {
    lastLines.push(line)
    if (lastLines.length > 20) lastLines.shift()
  })
  let ended: string | undefined
  child.once('error', (error) => {
    ended = error.message
  })
  child.once('exit', (code, signal) => {
    running.delete(child)
    ended = `ended with ${signal ?? code}`
  })
  const server: Server = {
    url: `http://127.0.0.1:${port}`,
    pid: child.pid ?? 0,
    complaints: () => lastLines.join('; '),
    stop: async () => {
      if (ended === undefined) await stop(child)
      await clean()
    },
  }
  const deadline = performance.now() + START_TIMEOUT_MS
  while (port !== undefined && !(await takesConnections(port))) {
    if (ended === undefined && performance.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 50))
      continue
    }
    await server.stop()
    throw new Error(`${file} ${ended ?? 'takes no connections'}: ${server.complaints()}`)
  }
  return server
}

function takesConnections(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port })
    const settle = (answer: boolean) => {
      socket.destroy()
      resolve(answer)
    }
    socket.once('connect', () => settle(true))
    socket.once('error', () => settle(false))
  })
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = once(child, 'exit')
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS)
  await ended
  clearTimeout(timer)
}
