import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { issueToken } from '../../src/auth/issue-token.ts'
import { openSse } from '../support/clients/sse.ts'
import { openWebSocket } from '../support/clients/websocket.ts'

const AUTHORS = 20
const PAUSE_MS = 20

/** A little of all that an instance meets: writes, reads, streams that come and go, peers that misbehave. */
export class Traffic {
  readonly #url: string
  readonly #secret: string
  readonly #counts = new Map<string, number>()
  readonly #loops: Promise<void>[] = []
  #stopped = false
  failures = 0

  constructor(url: string, secret: string) {
    this.#url = url
    this.#secret = secret
  }

  get summary(): string {
    return [...this.#counts].map(([what, count]) => `${what}: ${count.toLocaleString('en-US')}`).join('; ')
  }

  start(): void {
    this.#loop('views', (i) => this.#view(i))
    this.#loop('reactions', (i) => this.#react(i))
    this.#loop('pages', (i) => this.#poll(i))
    this.#loop('SSE streams', (i) => this.#stream(i, 'sse'))
    this.#loop('WebSockets', (i) => this.#stream(i, 'ws'))
    this.#loop('bad requests', () => this.#call('GET', '/stories/x', 'nobody').then(() => {}))
    this.#loop('broken peers', (i) => this.#broken(i))
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await Promise.all(this.#loops)
  }

  #loop(what: string, turn: (i: number) => Promise<void>): void {
    const run = async () => {
      for (let i = 0; !this.#stopped; i++) {
        try {
          await turn(i)
          this.#counts.set(what, (this.#counts.get(what) ?? 0) + 1)
        } catch (error) {
          this.failures++
          console.error(what, error)
        }
        await sleep(PAUSE_MS)
      }
    }
    this.#loops.push(run())
  }

  #token(user: string): Promise<string> {
    return issueToken(this.#secret, user, 600, {})
  }

  async #call(method: string, path: string, user: string, json?: unknown): Promise<Response> {
    const response = await fetch(new URL(path, this.#url), {
      method,
      headers: {
        authorization: `Bearer ${await this.#token(user)}`,
        accept: 'application/json',
        ...(json === undefined ? {} : { 'content-type': 'application/json' }),
      },
      body: json === undefined ? null : JSON.stringify(json),
    })
    if (response.status >= 500) throw new Error(`${method} ${path}: ${response.status}`)
    return response
  }

  async #story(author: string): Promise<string> {
    const posted = await this.#call('POST', '/stories', author, { expires_in: 60 })
    return ((await posted.json()) as { id: string }).id
  }

  async #view(i: number): Promise<void> {
    const story = await this.#story(`author-${i % AUTHORS}`)
    await Promise.all(
      Array.from({ length: 5 }, async (_, n) =>
        (await this.#call('POST', `/stories/${story}/view`, `viewer-${n}`)).arrayBuffer(),
      ),
    )
  }

  async #react(i: number): Promise<void> {
    const story = await this.#story(`author-${i % AUTHORS}`)
    for (const emoji of ['👍', '❤️'])
      await (await this.#call('POST', `/stories/${story}/reactions`, 'fan', { emoji })).arrayBuffer()
    await this.#call('DELETE', `/stories/${story}/reactions`, 'fan')
  }

  async #poll(i: number): Promise<void> {
    await (await this.#call('GET', '/events?after=0&limit=200', `author-${i % AUTHORS}`)).arrayBuffer()
  }

  async #stream(i: number, transport: 'sse' | 'ws'): Promise<void> {
    const options = { url: this.#url, token: await this.#token(`author-${i % AUTHORS}`) }
    const stream = transport === 'sse' ? await openSse(options) : await openWebSocket(options)
    await sleep(200)
    if (i % 2 === 0) stream.cut()
    else stream.close()
  }

  /** Half a request, a malformed one, requests sent ahead whose answers nobody reads, and the end without a word. */
  async #broken(i: number): Promise<void> {
    const { hostname, port } = new URL(this.#url)
    const socket = connect(Number(port), hostname).on('error', () => {})
    const bytes = [
      'GET /livez HT',
      'GARBAGE\r\n\r\n',
      'GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(50),
    ]
    socket.write(bytes[i % bytes.length] ?? '')
    await sleep(100)
    if (i % 5 === 0) setTimeout(() => socket.destroy(), 4000)
    else socket.destroy()
  }
}
