import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Engine, EnginePage } from './engine.ts'

/** Where Debian's webkit2gtk-driver puts the browser that its driver drives. */
const BROWSERS = ['6.0', '4.1', '4.0'].flatMap((version) =>
  ['x86_64-linux-gnu', 'aarch64-linux-gnu'].map(
    (platform) => `/usr/lib/${platform}/webkit2gtk-${version}/MiniBrowser`,
  ),
)
export const DRIVER = '/usr/bin/WebKitWebDriver'
const DISPLAY_SERVER = '/usr/bin/Xvfb'

interface Reply {
  readonly value: unknown
}

export const hasWebKit = (): boolean => findBinary() !== undefined

function findBinary(): string | undefined {
  if (!existsSync(DRIVER) || !existsSync(DISPLAY_SERVER)) return undefined
  return BROWSERS.find((path) => existsSync(path))
}

/** WebKit as Debian has it, without a screen; undefined where webkit2gtk-driver or xvfb is not installed. */
export async function launchWebKit(): Promise<Engine | undefined> {
  const binary = findBinary()
  if (binary === undefined) return undefined
  const screen = spawn(
    DISPLAY_SERVER,
    ['-displayfd', '1', '-screen', '0', '1024x768x24', '-nolisten', 'tcp'],
    {
      stdio: ['ignore', 'pipe', 'ignore'],
    },
  )
  const [display] = await once(screen.stdout, 'data')
  const port = await freePort()
  const driver = spawn(DRIVER, [`--port=${port}`], {
    stdio: 'ignore',
    env: { ...process.env, DISPLAY: `:${String(display).trim()}`, LIBGL_ALWAYS_SOFTWARE: '1' },
  })
  return new WebKit(`http://127.0.0.1:${port}`, binary, [driver, screen]).start()
}

/** As much of WebDriver (W3C) as tests need. One command at a time: a session has one window that commands go to. */
class WebKit implements Engine {
  readonly #url: string
  readonly #binary: string
  readonly #processes: readonly ChildProcess[]
  #session = ''
  #first = ''
  #turn: Promise<unknown> = Promise.resolve()

  constructor(url: string, binary: string, processes: readonly ChildProcess[]) {
    this.#url = url
    this.#binary = binary
    this.#processes = processes
  }

  async start(): Promise<this> {
    const browser = { 'webkitgtk:browserOptions': { binary: this.#binary, args: ['--automation'] } }
    const capabilities = { alwaysMatch: { browserName: 'MiniBrowser', ...browser } }
    for (let attempt = 1; ; attempt += 1) {
      try {
        const { sessionId } = (await this.#send('POST', '/session', { capabilities })) as {
          sessionId: string
        }
        this.#session = `/session/${sessionId}`
        // A script whose page is left before it has answered is waited for this long; a test's own patience is longer.
        await this.#send('POST', `${this.#session}/timeouts`, { script: 10_000 })
        this.#first = (await this.#send('GET', `${this.#session}/window`)) as string
        return this
      } catch (error) {
        // The driver does not say when it listens.
        if (attempt === 50) {
          await this.close()
          throw error
        }
        await sleep(100)
      }
    }
  }

  async newPage(): Promise<EnginePage> {
    const { handle } = await this.#inTurn(async () => {
      // The window of the last command may have been closed; the first one stays.
      await this.#send('POST', `${this.#session}/window`, { handle: this.#first })
      return (await this.#send('POST', `${this.#session}/window/new`, { type: 'tab' })) as { handle: string }
    })
    const inWindow = <Value>(work: () => Promise<Value>) =>
      this.#inTurn(async () => {
        await this.#send('POST', `${this.#session}/window`, { handle })
        return work()
      })
    return {
      goto: (url) => inWindow(() => this.#send('POST', `${this.#session}/url`, { url })),
      url: () => inWindow(() => this.#send('GET', `${this.#session}/url`) as Promise<string>),
      evaluate: <Value>(script: string) => inWindow(() => this.#run(script) as Promise<Value>),
      close: () => inWindow(() => this.#send('DELETE', `${this.#session}/window`)),
    }
  }

  async close(): Promise<void> {
    if (this.#session !== '') await this.#send('DELETE', this.#session).catch(() => {})
    for (const child of this.#processes) child.kill()
  }

  async #run(text: string): Promise<unknown> {
    const script = `const [text, done] = arguments
      new Promise((resolve) => resolve((0, eval)(text))).then((value) => done({ value }), (error) => done({ error: String(error) }))`
    const { value, error } = (await this.#send('POST', `${this.#session}/execute/async`, {
      script,
      args: [text],
    })) as { value?: unknown; error?: string }
    if (error !== undefined) throw new Error(error)
    return value
  }

  #inTurn<Value>(work: () => Promise<Value>): Promise<Value> {
    const result = this.#turn.then(work)
    this.#turn = result.catch(() => {})
    return result
  }

  async #send(method: string, path: string, body?: object): Promise<unknown> {
    const response = await fetch(`${this.#url}${path}`, {
      method,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    const { value } = (await response.json()) as Reply
    if (!response.ok) throw new Error(`${method} ${path}: ${JSON.stringify(value)}`)
    return value
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}
