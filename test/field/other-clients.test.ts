import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { resolve } from 'node:path'
import { build } from 'esbuild'
import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, it, onTestFinished, type TestContext } from 'vitest'
import { type Caller, call, newCallers } from '../support/api.ts'
import { open } from '../support/clients/index.ts'
import type { TestStream } from '../support/clients/stream.ts'
import { createDatabase } from '../support/database.ts'
import type { Engine, EnginePage } from '../support/engine.ts'
import { ENGINES } from '../support/engines.ts'
import { startInstance } from '../support/instance.ts'
import { insertReaction, insertStory, upTo } from '../support/sql-writer.ts'
import { signToken } from '../support/token.ts'

/** The lines that the docs give for other people's clients, run as they stand, with nothing of ours on the page. */
const SNIPPETS = [
  ['docs/protocol.md', 'eventsource'],
  ['docs/protocol.md', 'websocket'],
  ['docs/other-languages.md', '@microsoft/fetch-event-source'],
  ['docs/other-languages.md', 'sse.js'],
  ['docs/other-languages.md', 'reconnecting-websocket'],
  ['docs/other-languages.md', 'partysocket'],
] as const

/** Past its token's end a client must be back within this time. */
const TOKEN_LIVES_MS = 6000
const PATIENCE = { timeout: 40_000, interval: 100 }

async function snippet(page: string, name: string): Promise<string> {
  const text = await readFile(page, 'utf8')
  const [, code] = new RegExp(`^\`\`\`js ${name}\\n([\\s\\S]*?)^\`\`\`$`, 'm').exec(text) ?? []
  if (code === undefined) throw new Error(`${page} has no block for ${name}`)
  return code.replaceAll('wss://', 'ws://')
}

/** A snippet as a script for a page; what it shows is noted under its name. */
async function scriptOf(page: string, name: string): Promise<string> {
  const lines = (await snippet(page, name)).split('\n')
  const isImport = (line: string) => line.startsWith('import ')
  const contents = [
    ...lines.filter(isImport),
    `const show = (message) => noted[${JSON.stringify(name)}].push(message.type)
       && message.seq && seqs[${JSON.stringify(name)}].push(message.seq);`,
    `(async () => {`,
    ...lines.filter((line) => !isImport(line)),
    `})()`,
  ].join('\n')
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: resolve('.') },
    bundle: true,
    format: 'iife',
    write: false,
  })
  return outputFiles[0]?.text ?? ''
}

/** The address that clients know: instances come and go behind it, and sometimes nobody answers there at all. */
class Front {
  target = ''
  readonly #sockets = new Set<Socket>()
  #server: Server | undefined
  #port = 0

  async up(target: string): Promise<void> {
    this.target = target
    this.#server = createServer((client) => {
      const upstream = connect(Number(new URL(this.target).port), '127.0.0.1')
      for (const [socket, other] of [
        [client, upstream],
        [upstream, client],
      ] as const) {
        this.#sockets.add(socket)
        socket.on('error', () => {}).on('close', () => other.destroy())
        socket.pipe(other)
      }
    })
    this.#server.listen(this.#port, '127.0.0.1')
    await once(this.#server, 'listening')
    this.#port = (this.#server.address() as AddressInfo).port
  }

  /** Nobody answers there any more: connections are refused. */
  down(): void {
    this.#server?.close()
    for (const socket of this.#sockets) socket.destroy()
    this.#sockets.clear()
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`
  }
}

describe.each(ENGINES)('in %s', (name, launch) => {
  let engine: Engine | undefined
  beforeAll(async () => {
    engine = await launch()
  })
  afterAll(() => engine?.close())

  async function newPage(context: TestContext): Promise<EnginePage> {
    context.skip(engine === undefined, `there is no ${name} here`)
    return (engine as Engine).newPage()
  }

  it('an EventSource and nothing else comes back from an instance that was full', async (context) => {
    const page = await newPage(context)
    const instance = await startInstance({ MAX_CONNECTIONS: '1' })
    onTestFinished(() => instance.close())
    const [alice, bob] = (await newCallers(instance.url, 'alice', 'bob')) as [Caller, Caller]
    const blocker = await open('ws', bob)
    await page.goto(`${instance.url}/livez`)
    await page.evaluate(`
      globalThis.heard = []
      globalThis.source = new EventSource('/events?token=${alice.token}')
      for (const type of ['stream.open', 'stream.close', 'story.viewed'])
        source.addEventListener(type, ({ type }) => heard.push(type))
      undefined
    `)
    const heard = () => page.evaluate<string[]>('heard')
    await expect.poll(heard, PATIENCE).toEqual(['stream.close'])
    expect(await page.evaluate<number>('source.readyState')).toBeLessThan(2)
    blocker.close()
    await expect.poll(heard, PATIENCE).toEqual(['stream.close', 'stream.open'])
    await bob.view(await alice.post())
    await expect.poll(heard, PATIENCE).toEqual(['stream.close', 'stream.open', 'story.viewed'])
  })

  it('the documented lines survive a lost service, one that is full, and the end of their token', async (context) => {
    const page = await newPage(context)
    const database = await createDatabase()
    onTestFinished(() => database.drop())
    const sql = postgres(database.url, { max: 1 })
    onTestFinished(() => sql.end())
    const first = await startInstance({ JWT_CLOCK_TOLERANCE_S: '0' }, { database })
    const front = new Front()
    onTestFinished(() => front.down())
    await front.up(first.url)

    const [alice] = await newCallers(first.url, 'alice')
    const user = alice?.user ?? ''
    const story = await insertStory(sql, user)
    let made = 0
    const make = () => insertReaction(sql, story, `bob-${++made}`, '🎉')

    await page.goto(`${front.url}/livez`)
    const firstEnds = Date.now() + TOKEN_LIVES_MS
    const tokens = [await signToken(user, { expiresIn: TOKEN_LIVES_MS / 1000 }), await signToken(user)]
    await page.evaluate(`
      globalThis.asked = 0
      globalThis.noted = {}
      globalThis.seqs = {}
      for (const [, name] of ${JSON.stringify(SNIPPETS)}) { noted[name] = []; seqs[name] = [] }
      globalThis.getToken = async () => {
        asked++
        return Date.now() < ${firstEnds} ? ${JSON.stringify(tokens[0])} : ${JSON.stringify(tokens[1])}
      }
      undefined
    `)
    for (const [file, snippetName] of SNIPPETS)
      await page.evaluate(`${await scriptOf(file, snippetName)}; undefined`)

    const everybodyHears = (count: number) =>
      expect
        .poll(() => page.evaluate<Record<string, number[]>>('seqs'), PATIENCE)
        .toEqual(Object.fromEntries(SNIPPETS.map(([, each]) => [each, upTo(count)])))
    await expect.poll(() => page.evaluate<number>(OPENED), PATIENCE).toBe(SNIPPETS.length)
    await make()
    await everybodyHears(1)

    // Their token ends, and an event is made while they are away.
    await new Promise((wait) => setTimeout(wait, firstEnds + 200 - Date.now()))
    await make()
    await everybodyHears(2)
    expect(await page.evaluate<number>('asked')).toBeGreaterThanOrEqual(2 * SNIPPETS.length)

    // Nobody answers for a while; then somebody does who is full.
    front.down()
    await first.close()
    await make()
    const second = await startInstance({ MAX_CONNECTIONS: String(SNIPPETS.length) }, { database })
    onTestFinished(() => second.close())
    const blockers: TestStream[] = []
    for (const blocker of await newCallers(second.url, ...SNIPPETS.map(() => 'blocker')))
      blockers.push(await open('ws', blocker))
    await new Promise((wait) => setTimeout(wait, 2500))
    await front.up(second.url)
    await expect.poll(() => refusedFor(second.url, 'connections'), PATIENCE).toBeGreaterThanOrEqual(9)
    for (const blocker of blockers) blocker.close()
    await make()
    await everybodyHears(4)
  }, 240_000)
})

const OPENED = `Object.values(noted).filter((types) => types.includes('stream.open')).length`

async function refusedFor(url: string, limit: string): Promise<number> {
  const { text } = await call(url, '/metrics')
  return Number(new RegExp(`^glimpse_limited_total\\{limit="${limit}"\\} (\\d+)$`, 'm').exec(text)?.[1] ?? 0)
}
