import { type ChildProcess, spawn } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import type { WriteStream } from 'node:tty'
import postgres from 'postgres'
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { paint, printable } from '../../src/cli/command.ts'
import { spawnGlimpse, startGlimpseHere } from '../support/cli.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { type Instance, type MainProcess, spawnInstance, startInstance } from '../support/instance.ts'
import { insertStory, insertViews, upTo } from '../support/sql-writer.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'
import { TEST_SECRET } from '../support/token.ts'

type Where = string | Readonly<Record<string, string>>

/** `glimpse tail …` with the lines it has written so far. */
class Tail extends EventEmitter<{ line: [] }> {
  readonly out: string[] = []
  readonly err: string[] = []
  readonly exited: Promise<number | null>

  private constructor(stdout: Readable, stderr: Readable, exited: Promise<number | null>) {
    super()
    this.exited = exited
    for (const [input, lines] of [
      [stdout, this.out],
      [stderr, this.err],
    ] as const)
      createInterface({ input }).on('line', (line) => {
        lines.push(line)
        this.emit('line')
      })
  }

  /** In this process, until the test ends. */
  static here(where: Where, ...args: string[]): Tail {
    const { words, environment } = Tail.#called(where, args)
    const { stdout, stderr, exited, interrupt } = startGlimpseHere(words, environment)
    onTestFinished(async () => {
      interrupt()
      await exited
    })
    // As a process: it has ended once its lines are read.
    const closed = Promise.all([exited, once(stdout, 'close'), once(stderr, 'close')])
    return new Tail(
      stdout,
      stderr,
      closed.then(([code]) => code),
    )
  }

  /** In a process of its own: for signals, its pipe and its end. */
  static started(where: Where, ...args: string[]): Tail & { readonly child: ChildProcess } {
    const { words, environment } = Tail.#called(where, args)
    const child = spawnGlimpse(words, { environment })
    onTestFinished(() => void child.kill('SIGKILL'))
    if (child.stdout === null || child.stderr === null) throw new Error('no pipes')
    const code = once(child, 'close').then(([code]) => code)
    return Object.assign(new Tail(child.stdout, child.stderr, code), { child })
  }

  static #called(where: Where, args: readonly string[]) {
    const [url, environment] = typeof where === 'string' ? [['--url', where], {}] : [[], where]
    return {
      words: ['tail', ...url, ...args],
      environment: { JWT_SECRET: TEST_SECRET, TZ: 'UTC', ...environment },
    }
  }

  /** Waits until it has written so many lines, or one that matches. */
  async until(what: number | RegExp): Promise<this> {
    const there = () =>
      typeof what === 'number'
        ? this.out.length >= what
        : [...this.err, ...this.out].some((line) => what.test(line))
    const signal = AbortSignal.timeout(20_000)
    while (!there()) await once(this, 'line', { signal })
    return this
  }
}

let database: TestDatabase
let sql: postgres.Sql
beforeEach(async () => {
  database = await createDatabase()
  sql = postgres(database.url, { max: 1 })
  onTestFinished(async () => {
    await sql.end()
    await database.drop()
  })
})

async function serve(): Promise<Instance> {
  const instance = await startInstance({}, { database })
  onTestFinished(() => instance.close())
  return instance
}

const live = (url: string, ...args: string[]) => Tail.here(url, ...args).until(/^live over/)
const startedLive = (url: string, ...args: string[]) => Tail.started(url, ...args).until(/^live over/)

describe('glimpse tail', () => {
  it.each([
    'auto',
    'websocket',
    'sse',
    'poll',
  ])('prints who did what and when, over %s, and ends after --count', async (transport) => {
    const { url, caller } = await serve()
    const [alice, bob] = [await caller('alice'), await caller('bob')]
    const story = await alice.post()
    const tail = await startedLive(url, alice.user, '--transport', transport, '--count', '2')
    await bob.view(story)
    await bob.react(story, '👏')
    expect(await tail.exited).toBe(0)
    expect(tail.out.map((line) => line.replace(/^\d\d:\d\d:\d\d/, 'TIME'))).toEqual([
      `TIME  #1     ${bob.user} viewed ${story}`,
      `TIME  #2     ${bob.user} reacted 👏 to ${story}`,
    ])
    expect(tail.err.at(-1)).toMatch(
      new RegExp(`^To resume later: glimpse tail ${alice.user} --after [0-9a-f]+\\.2`),
    )
  })

  it('begins after a cursor, or with the oldest event, and prints events as they are sent with --json', async () => {
    const { url, caller } = await serve()
    const alice = await caller('alice')
    await insertViews(sql, await insertStory(sql, alice.user), ['bob', 'carol', 'dave'])
    const all = Tail.here(url, alice.user, '--after', '0', '--count', '3', '--json')
    expect(await all.exited).toBe(0)
    const events = all.out.map((line) => JSON.parse(line))
    expect(events.map(({ seq, data }) => [seq, data.viewer_id])).toEqual([
      [1, 'bob'],
      [2, 'carol'],
      [3, 'dave'],
    ])
    const answer = await fetch(`${url}/events?after=0`, {
      headers: { accept: 'application/json', authorization: `Bearer ${alice.token}` },
    })
    expect(((await answer.json()) as { events: unknown[] }).events).toEqual(events)

    const rest = Tail.here(url, alice.user, '--after', events[1].id, '--count', '1', '--json')
    expect(await rest.exited).toBe(0)
    expect(rest.out).toEqual(all.out.slice(2))
  })

  it('goes on after the service was killed, without an event missing or twice', async () => {
    const start = async (port: string): Promise<MainProcess & { url: string }> => {
      const main = await spawnInstance({ DATABASE_URL: database.url, PORT: port })
      onTestFinished(() => void main.child.kill('SIGKILL'))
      return main
    }
    const first = await start('0')
    const story = await insertStory(sql, 'alice')
    const tail = await live(first.url, 'alice', '--json')
    await insertViews(sql, story, ['before'])
    await tail.until(1)
    await first.kill('SIGKILL')
    await insertViews(sql, story, ['meanwhile'])
    await tail.until(/retrying/)
    await start(new URL(first.url).port)
    await tail.until(2)
    await insertViews(sql, story, ['after'])
    await tail.until(3)
    expect(tail.out.map((line) => JSON.parse(line)).map(({ seq, data }) => [seq, data.viewer_id])).toEqual([
      [1, 'before'],
      [2, 'meanwhile'],
      [3, 'after'],
    ])
  })

  it('says so where events may be missing', async () => {
    const { url } = await serve()
    const tail = Tail.here(url, 'alice', '--after', '0123456789ab.7', '--json')
    await tail.until(1)
    expect(JSON.parse(tail.out[0] ?? '')).toMatchObject({ type: 'stream.reset', data: { reason: 'epoch' } })
    await tail.until(/the cursor is from another history of the database/)
  })

  it('ends with 0 on Ctrl-C, and tells where to go on', async () => {
    const { url } = await serve()
    const tail = await startedLive(url, 'alice')
    tail.child.kill('SIGINT')
    expect(await tail.exited).toBe(0)
    expect(tail.err.at(-1)).toMatch(/--after [0-9a-f]+\.0\.[0-9a-f]+$/)
  })

  it('ends with 0 when nobody reads it any more', async () => {
    const { url } = await serve()
    const story = await insertStory(sql, 'alice')
    const tail = await startedLive(url, 'alice')
    tail.child.stdout?.destroy()
    await insertViews(sql, story, ['bob', 'carol'])
    expect(await tail.exited).toBe(0)
    expect(tail.err.join('\n')).not.toMatch(/EPIPE/)
  })

  it('ends with 4 and one line for a token that is no good, and says where it came from', async () => {
    const { url } = await serve()
    for (const args of [[], ['--no-follow']]) {
      const tail = Tail.here(url, '--token', 'no.good.token', ...args)
      expect(await tail.exited).toBe(4)
      expect(tail.err).toEqual([expect.stringMatching(/^tail: 401: .*refused the token of --token$/)])
    }
  })

  it('ends when what it is piped into does, without an event', async ({ skip }) => {
    skip(process.platform !== 'linux', 'pipes can be looked at on Linux alone')
    const { url } = await serve()
    // The reader ends when it is told to, over descriptor 3.
    const command = `"$0" dist/cli/main.js tail alice --url ${url} | { read -r go <&3; }`
    const shell = spawn('sh', ['-c', command, process.execPath], {
      env: { PATH: process.env.PATH, JWT_SECRET: TEST_SECRET },
      detached: true,
      stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
    })
    onTestFinished(() => {
      if (shell.exitCode === null) process.kill(-(shell.pid ?? Number.NaN), 'SIGKILL')
    })
    let said = ''
    shell.stderr?.setEncoding('utf8').on('data', (text: string) => {
      said += text
    })
    await expect.poll(() => said, { timeout: 20_000 }).toMatch(/^live over/)
    ;(shell.stdio[3] as Writable).write('\n')
    // The shell waits for both: had tail gone on, this test would end by its time.
    expect(await once(shell, 'close')).toEqual([0, null])
  }, 60_000)

  it('prints what there is and ends with --no-follow, page by page', async () => {
    const { url, caller } = await serve()
    const alice = await caller('alice')
    const story = await insertStory(sql, alice.user)
    await insertViews(
      sql,
      story,
      Array.from({ length: 1200 }, (_, i) => `viewer ${i}`),
    )
    const all = Tail.started(url, alice.user, '--no-follow', '--json')
    expect(await all.exited).toBe(0)
    expect(all.out.map((line) => JSON.parse(line).seq)).toEqual(Array.from({ length: 1200 }, (_, i) => i + 1))
    expect(all.err).toEqual([expect.stringMatching(/^To resume later: .* --after [0-9a-f]+\.1200/)])
    const none = Tail.here(url, alice.user, '--no-follow', '--after', 'now')
    expect(await none.exited).toBe(0)
    expect(none.out).toEqual([])
  })

  it('prints only the types that are asked for, and counts only those', async () => {
    const { url, caller } = await serve()
    const [alice, bob] = [await caller('alice'), await caller('bob')]
    const story = await alice.post()
    await bob.view(story)
    await bob.react(story, '👏')
    for (const more of [['--count', '1', '--after', '0'], ['--no-follow']]) {
      const tail = Tail.here(url, alice.user, '--type', 'story.reacted', '--json', ...more)
      expect(await tail.exited).toBe(0)
      expect(tail.out.map((line) => JSON.parse(line).type)).toEqual(['story.reacted'])
    }
  })

  it('ends with 5 with --no-retry where it cannot connect, and where the service goes', async () => {
    const nowhere = Tail.started('http://127.0.0.1:2', 'alice', '--no-retry')
    expect(await nowhere.exited).toBe(5)
    expect(nowhere.err).toEqual([expect.stringMatching(/^tail: cannot reach http:\/\/127\.0\.0\.1:2 /)])
    const main = await spawnInstance({ DATABASE_URL: database.url, PORT: '0' })
    const tail = await live(main.url, 'alice', '--no-retry')
    await main.kill('SIGKILL')
    expect(await tail.exited).toBe(5)
  })

  it("prints what others wrote without letting it speak to the terminal, and events of one's own making", async () => {
    const { url } = await serve()
    const story = await insertStory(sql, 'alice')
    const tail = await live(url, 'alice', '--count', '2')
    await sql`insert into glimpse.story_reactions (story_id, user_id, emoji) values (${story}, 'bob', ${'\u001b[31m\u202e'})`
    await sql`select glimpse.append(('alice', 'comment.added', '{"text":"\\u001b]0;x"}', now())::glimpse.new_event)`
    expect(await tail.exited).toBe(0)
    expect(tail.out[0]).toMatch(/bob reacted \\u\{1b\}\[31m\\u\{202e\} to /)
    expect(tail.out[1]).toMatch(/comment\.added \{"text":"\\u001b\]0;x"\}$/)
  })
})

describe('glimpse tail --all', () => {
  const live = /^live over Postgres/
  const append = (user: string, count = 1, text = '') => sql`
    select glimpse.append(variadic array_agg((${user}, 'a.b', json_build_object('n', n, 'text', ${text}::text), now())::glimpse.new_event))
      from generate_series(1, ${count}::int) as n`

  it('prints the events of all users with their users, in the order of each stream, without a service', async () => {
    await append('alice', 3) // before it began
    const tail = await Tail.started({ DATABASE_URL: database.url }, '--all').until(live)
    const story = await insertStory(sql, 'bob')
    await insertViews(sql, story, ['carol'])
    await sql.begin(async (held) => {
      await held`select glimpse.append(('alice', 'a.b', '{}', now())::glimpse.new_event)`
      const other = postgres(database.url, { max: 1 })
      await other`select glimpse.append(('dave', 'a.b', '{}', now())::glimpse.new_event)`
      await other.end()
      await tail.until(2)
    })
    await tail.until(3)
    expect(tail.out.map((line) => line.replace(/^\d\d:\d\d:\d\d/, 'TIME'))).toEqual([
      `TIME  #1     bob: carol viewed ${story}`,
      'TIME  #1     dave: a.b {}',
      'TIME  #4     alice: a.b {}',
    ])
    tail.child.kill('SIGINT')
    expect(await tail.exited).toBe(0)
  })

  /** The numbers that were printed of each user, in the order of the lines. */
  const seqsOf = ({ out }: Tail) => {
    const seqs = new Map<string, number[]>()
    for (const { user, seq } of out.map((line) => JSON.parse(line)))
      seqs.set(user, [...(seqs.get(user) ?? []), seq])
    return seqs
  }

  it('prints every event of a crowd once, with those too large for a notification, as they are sent', async () => {
    const users = upTo(120).map((n) => `user ${n}`)
    const count = String(1 + 120 * 4 + 250)
    const where = { DATABASE_URL: database.url }
    const tail = await Tail.here(where, '--all', '--json', '--count', count).until(live)
    await append('large', 1, 'x'.repeat(5000))
    for (const user of users) await append(user, 4)
    await append('user 1', 250)
    expect(await tail.exited).toBe(0)
    const expected = users.map((user): [string, number[]] => [user, upTo(user === 'user 1' ? 254 : 4)])
    expect(seqsOf(tail)).toEqual(new Map([['large', [1]], ...expected]))
    const [row] = await sql`select glimpse.page('user 1', '0', 3) as page`
    expect(JSON.parse(tail.out[1] ?? '')).toEqual({ user: 'user 1', ...row?.page.events[0] })
  })

  it('goes on after Postgres was away, with what it missed, of users not seen before too', async () => {
    const proxy = await TcpProxy.before(database.url)
    onTestFinished(() => proxy.close())
    const cut = Tail.here({ DATABASE_URL: proxy.urlFor(database.url) }, '--all', '--json')
    await cut.until(live)
    await append('alice')
    await cut.until(1)
    proxy.blackhole()
    proxy.resetAll()
    await append('alice', 2)
    await append('bob')
    await cut.until(/does not answer/)
    proxy.heal()
    await cut.until(4)
    await append('bob')
    await cut.until(5)
    expect(seqsOf(cut)).toEqual(
      new Map([
        ['alice', [1, 2, 3]],
        ['bob', [1, 2]],
      ]),
    )
  })

  it.each([
    ['a user', ['alice', '--all']],
    ['--after', ['--all', '--after', '0']],
    ['--url', ['--all', '--url', 'http://127.0.0.1:1']],
  ])('does not go with %s', async (_what, args) => {
    const tail = Tail.here({}, ...args)
    expect(await tail.exited).toBe(2)
  })
})

describe('text for a terminal', () => {
  it('is coloured only where the terminal shows colours', () => {
    const stream = (isTTY: boolean, colours: boolean) =>
      ({ isTTY, hasColors: () => colours }) as unknown as WriteStream
    expect(paint(stream(true, true), 'red', 'x')).toBe('\u001b[31mx\u001b[39m')
    expect(paint(stream(true, false), 'red', 'x')).toBe('x')
    expect(paint(stream(false, true), 'red', 'x')).toBe('x')
  })

  it('keeps letters and emoji, and shows what could steer a terminal', () => {
    expect(printable('Zoë 👩‍👩‍👧 日本')).toBe('Zoë 👩‍👩‍👧 日本')
    expect(printable('a\nb\u009b\u2066')).toBe('a\\u{a}b\\u{9b}\\u{2066}')
  })
})
