import { execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { createTokenVerifier } from '../../src/auth/verifier.ts'
import { createLogger } from '../../src/observability/log.ts'
import { migrationNames } from '../../src/store/migrations.ts'
import type { Story } from '../support/api.ts'
import { glimpse, glimpseHere, spawnGlimpse } from '../support/cli.ts'
import { open } from '../support/clients/index.ts'
import { createDatabase } from '../support/database.ts'
import { query } from '../support/embedded/server.ts'
import { type Instance, startInstance } from '../support/instance.ts'
import { TEST_SECRET } from '../support/token.ts'

const COMMANDS = [
  ...['serve', 'relay', 'migrate', 'token', 'tail', 'send'],
  ...['new-history', 'online', 'disconnect', 'export', 'forget', 'grants'],
  ...['doctor', 'status', 'size', 'version', 'completion'],
]

describe('glimpse', () => {
  it('lists its commands when asked, and as a refusal where none is named', async () => {
    const asked = await glimpse(['--help'])
    expect(asked.code).toBe(0)
    for (const name of COMMANDS) expect(asked.stdout).toMatch(new RegExp(`^  ${name} +\\w`, 'm'))
    expect(await glimpse([])).toEqual({ code: 2, stdout: '', stderr: asked.stdout })
  })

  it.each(COMMANDS)('explains %s, with its exit codes', async (name) => {
    const { code, stdout, stderr } = await glimpseHere([name, '--help'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(new RegExp(`^Usage: glimpse ${name}`))
    expect(stdout).toMatch(/\nExamples?:\n {2}\S/)
    expect(stdout).toMatch(/\nExit codes: 0 .*2 called wrongly/s)
    expect(await glimpseHere(['help', name])).toMatchObject({ code: 0, stdout })
    expect(await readFile('docs/command-line.md', 'utf8')).toContain(
      `## ${name}\n\n\`\`\`\n${stdout}\`\`\`\n`,
    )
  })

  it('tells its version', async () => {
    const { version } = JSON.parse(await readFile('package.json', 'utf8'))
    expect(await glimpse(['--version'])).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' })
  })

  it('is what package.json names as its program', async () => {
    const { bin } = JSON.parse(await readFile('package.json', 'utf8'))
    expect(await readFile(bin.glimpse, 'utf8')).toMatch(/^#!\/usr\/bin\/env node\n/)
  })

  it.each<[string[], RegExp]>([
    [['doctr'], /there is no command doctr; did you mean doctor\?/],
    [['toString'], /there is no command toString; glimpse --help/],
    [['frobnicate'], /there is no command frobnicate; glimpse --help/],
    [['doctor', '--jsno'], /'--jsno'; did you mean --json\?/],
    [['serve', 'now'], /serve takes no arguments/],
    [['relay', 'now'], /relay takes no arguments/],
    [['migrate', 'now'], /migrate takes no arguments/],
    [['doctor', 'now'], /doctor takes no arguments/],
    [['token'], /name one user/],
    [['token', 'a', 'b'], /name one user/],
    [['tail'], /missing user. Usage: glimpse tail <user>/],
    [['tail', 'a', '--token', 'x'], /exclude each other/],
    ...['yesterday', '1', 'x.y'].map(
      (after) => [['tail', 'a', '--after', after], /--after must be/] as [string[], RegExp],
    ),
    [['tail', 'a', '--type', 'a b'], /--type must be/],
    ...['soon', '0', '1y', '8d', '1.5h'].map(
      (time) =>
        [['send', 'story', '--as', 'a', '--expires-in', time], /--expires-in must be a time/] as [
          string[],
          RegExp,
        ],
    ),
    [['token', 'a', '--expires-in', '366d'], /--expires-in must be a time/],
    [['send', 'view', 'x', '--as', 'a', '--expires-in', '1h'], /--expires-in is for a story/],
    [['serve', '--port', '70000'], /--port must be/],
    [['status', 'now'], /status takes no arguments/],
    [['size', '--users', '5'], /--views must be a number/],
    [['size', '--users', '0', '--views', '1'], /--users must be a number/],
    [['size', '--users', '5', '--views', '1G'], /--views must be a number/],
    [['size', '--users', '5', '--views', '1', '--retention', 'long'], /--retention must be a time/],
    [['completion', 'tcsh'], /name one shell/],
    [['tail', 'a', 'b'], /name one user/],
    [['tail', 'a', '--transport', 'pigeon'], /--transport must be one of auto/],
    [['tail', 'a', '--count', 'all'], /--count must be/],
    [['send'], /say what to send/],
    [['send', 'view', '--as', 'bob'], /name one story/],
    [['send', 'reaction', 'x', '--as', 'bob'], /name a story and an emoji/],
    [['send', 'story', 'two', 'words', '--as', 'bob'], /in quotes/],
    [['send', 'story'], /missing user: name one with --as/],
    [['send', 'story', '--as', 'bob', '--token', 'x'], /exclude each other/],
    [['send', 'story', '--as', 'bob', '--url', 'here'], /--url must be/],
  ])('refuses %j in one line, with 2', async (args, line) => {
    const { code, stdout, stderr } = await glimpseHere(args, { JWT_SECRET: TEST_SECRET })
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toMatch(line)
    expect(stderr).not.toMatch(/\n\s+at /)
  })
})

it('a .env that cannot be read is one line, and exit code 1', async () => {
  const cwd = await mkdtemp(join(tmpdir(), 'glimpse-dotenv-'))
  onTestFinished(() => rm(cwd, { recursive: true, force: true }))
  await mkdir(join(cwd, '.env'))
  const { code, stderr } = await glimpse(['doctor'], { cwd })
  expect(code).toBe(1)
  expect(stderr).toMatch(/^doctor: \.env is there but cannot be read: [^\n]+\n$/)
})

describe('glimpse token', () => {
  it('prints the user and the end as well with --json', async () => {
    const { stdout } = await glimpseHere(['token', 'alice', '--json', '--expires-in', '1d'], {
      JWT_SECRET: TEST_SECRET,
    })
    const { token, user, expires_at } = JSON.parse(stdout)
    const verifier = createTokenVerifier({ secrets: [TEST_SECRET], log: createLogger('silent') })
    const { expiresAt } = await verifier.verify(token)
    expect(user).toBe('alice')
    expect(Math.abs(Date.parse(expires_at) - expiresAt)).toBeLessThanOrEqual(1000)
    expect(Math.abs(expiresAt - Date.now() - 86_400_000)).toBeLessThan(60_000)
  })

  it('prints a token of JWT_SECRET and nothing else', async () => {
    const { code, stdout, stderr } = await glimpse(['token', 'alice'], {
      environment: { JWT_SECRET: TEST_SECRET },
    })
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const verifier = createTokenVerifier({ secrets: [TEST_SECRET], log: createLogger('silent') })
    expect(await verifier.verify(stdout.trim())).toMatchObject({ user: 'alice' })
  })

  it('ends with 1 and one line for a fault', async () => {
    const { code, stderr } = await glimpseHere(['token', 'alice'], { JWT_SECRET: 'short' })
    expect(code).toBe(1)
    expect(stderr).toMatch(/^token: JWT_SECRET: [^\n]+\n$/)
  })
})

describe('glimpse migrate', () => {
  it('makes the schema, from whatever folder it is called in', async () => {
    const database = await createDatabase()
    onTestFinished(() => database.drop())
    await query(database.url, 'drop schema glimpse cascade')
    const { code, stdout } = await glimpse(['migrate'], { environment: { DATABASE_URL: database.url } })
    expect(stdout).toContain('the schema is up to date')
    expect(code).toBe(0)
    const rows = await query(database.url, 'select name from glimpse.migrations order by id')
    expect(rows.map(({ name }) => name)).toEqual(await migrationNames())
  })

  it('ends with 1 and names DATABASE_URL where there is none', async () => {
    const { code, stdout } = await glimpse(['migrate'])
    expect(code).toBe(1)
    expect(stdout).toMatch(/glimpse migrate needs DATABASE_URL/)
  })
})

describe('glimpse serve', () => {
  it('serves until SIGTERM, and ends with 0', async () => {
    const database = await createDatabase()
    onTestFinished(() => database.drop())
    const child = spawnGlimpse(['serve', '--port', '0', '--host', '127.0.0.1'], {
      environment: { DATABASE_URL: database.url, JWT_SECRET: TEST_SECRET, PORT: '1', HOST: '192.0.2.1' },
    })
    onTestFinished(() => void child.kill('SIGKILL'))
    const exited = new Promise((resolve) => child.once('close', resolve))
    const url = await new Promise<string>((resolve) => {
      createInterface({ input: child.stdout ?? process.stdin }).on('line', (line) => {
        const { msg, url } = JSON.parse(line)
        if (msg === 'listening') resolve(url)
      })
    })
    expect((await fetch(`${url}/`)).status).toBe(200)
    child.kill('SIGTERM')
    expect(await exited).toBe(0)
  })

  it('ends at once where DATA_DIR cannot be made', async () => {
    for (const DATA_DIR of ['/proc/nope', '/dev/null/below']) {
      const { code, stdout } = await glimpse(['serve'], { environment: { DATA_DIR, PORT: '0' } })
      expect(code).toBe(1)
      expect(stdout).toContain(`DATA_DIR ${DATA_DIR} can't be used`)
    }
  })

  it('ends with 1 for a faulty configuration', async () => {
    const { code, stdout } = await glimpse(['serve'], { environment: { PORT: 'eighty' } })
    expect(code).toBe(1)
    expect(stdout).toMatch(/PORT: must be a whole number/)
  })
})

describe('glimpse send', () => {
  let instance: Instance
  let folder: string
  beforeAll(async () => {
    instance = await startInstance()
    folder = await mkdtemp(join(tmpdir(), 'glimpse-send-'))
  })
  afterAll(async () => {
    await instance.close()
    await rm(folder, { recursive: true, force: true })
  })

  const variables = () => ({ JWT_SECRET: TEST_SECRET, PORT: new URL(instance.url).port })
  const send = (...args: string[]) => glimpseHere(['send', ...args], variables())

  it('writes a story, a view and a reaction, which make their events', async () => {
    const alice = await instance.caller('alice')
    const words = ['send', 'story', 'Fog over the harbour', '--as', alice.user, '--expires-in', '600']
    const story = await glimpse(words, { cwd: folder, environment: variables() })
    expect(story).toMatchObject({ code: 0, stderr: '' })
    const id = story.stdout.trim()
    expect(await alice.story(id)).toMatchObject<Partial<Story>>({
      author_id: alice.user,
      text: 'Fog over the harbour',
    })

    expect(await send('view', id, '--as', 'bob')).toEqual({ code: 0, stdout: 'viewed\n', stderr: '' })
    expect((await send('view', id, '--as', 'bob')).stdout).toMatch(/no new event/)
    expect((await send('reaction', id, '👏', '--as', 'bob')).stdout).toBe('reacted 👏\n')
    const answer = await send('reaction', id, '❤️', '--token', await instance.token('carol'), '--json')
    expect(JSON.parse(answer.stdout)).toMatchObject({ user_id: 'carol', emoji: '❤️', recorded: true })

    const log = await query(
      instance.database.url,
      `select body::json ->> 'type' as type from glimpse.events where user_id = '${alice.user}' order by seq`,
    )
    expect(log.map(({ type }) => type)).toEqual(['story.viewed', 'story.reacted', 'story.reacted'])
    expect(await alice.story(id)).toMatchObject({ views: 1, reactions: { '👏': 1, '❤️': 1 } })
  })

  it.each([
    [
      ['view', '550e8400-e29b-41d4-a716-446655440000', '--as', 'bob'],
      /404 Unknown story: There is no such story/,
    ],
    [
      ['reaction', '550e8400-e29b-41d4-a716-446655440000', 'no emoji', '--as', 'bob'],
      /400 Invalid field: emoji/,
    ],
  ])('says what the service said of %j, with 3', async (args, line) => {
    const { code, stdout, stderr } = await send(...args)
    expect({ code, stdout }).toEqual({ code: 3, stdout: '' })
    expect(stderr).toMatch(/^send: [^\n]+\n$/)
    expect(stderr).toMatch(line)
  })

  it('ends with 5 where nobody listens', async () => {
    const { code, stderr } = await send('story', '--as', 'bob', '--url', 'http://127.0.0.1:2')
    expect(code).toBe(5)
    expect(stderr).toMatch(/^send: cannot reach http:\/\/127\.0\.0\.1:2 \(ECONNREFUSED\)\. Start the service/)
  })

  it('ends with 4 where the token is not accepted, and says which secret signed it', async () => {
    const other = 'another secret of 32 bytes or more'
    const path = join(folder, 'other-secret')
    await writeFile(path, other)
    const dataDir = join(folder, 'data')
    await mkdir(dataDir)
    await writeFile(join(dataDir, 'jwt-secret'), other)
    for (const [environment, args, origin] of [
      [{ JWT_SECRET: other }, ['--as', 'bob'], 'a token signed with JWT_SECRET;'],
      [{ JWT_SECRET_FILE: path }, ['--as', 'bob'], `a token signed with JWT_SECRET_FILE (${path});`],
      [{ DATA_DIR: dataDir }, ['--as', 'bob'], `the development secret ${join(dataDir, 'jwt-secret')};`],
      [{}, ['--token', 'x'], 'the token of --token\n'],
      [{ GLIMPSE_TOKEN: 'x' }, [], 'the token of GLIMPSE_TOKEN\n'],
    ] as const) {
      const { code, stderr } = await glimpseHere(['send', 'story', ...args], {
        GLIMPSE_URL: instance.url,
        ...environment,
      })
      expect(code, origin).toBe(4)
      expect(stderr).toContain(origin)
      expect(stderr).not.toContain(other)
    }
  })

  it('goes where GLIMPSE_URL says, as whom GLIMPSE_TOKEN says', async () => {
    const alice = await instance.caller('alice')
    const environment = { GLIMPSE_URL: `${instance.url}/`, GLIMPSE_TOKEN: alice.token }
    const { code, stdout } = await glimpseHere(['send', 'story', '--expires-in', '1h'], environment)
    expect(code).toBe(0)
    const { author_id, created_at, expires_at } = await alice.story(stdout.trim())
    expect(author_id).toBe(alice.user)
    expect(Date.parse(expires_at) - Date.parse(created_at)).toBe(3_600_000)
    const bad = await glimpseHere(['status'], { GLIMPSE_URL: 'here' })
    expect([bad.code, bad.stderr]).toEqual([2, expect.stringMatching(/^status: GLIMPSE_URL must be an http/)])
  })

  it("says why no event follows one's own view and reaction", async () => {
    const alice = await instance.caller('alice')
    const id = await alice.post()
    const own = /; no event follows, because the story is your own\n$/
    expect((await send('view', id, '--as', alice.user)).stdout).toMatch(own)
    expect((await send('reaction', id, '👏', '--as', alice.user)).stdout).toMatch(own)
    expect((await send('view', id, '--as', 'bob')).stdout).toBe('viewed\n')
  })

  it.each([
    'send',
    'tail',
    'token',
  ])('%s never makes a secret that the service would not know', async (command) => {
    const cwd = await mkdtemp(join(folder, 'elsewhere-'))
    const args = { send: ['story', '--as', 'bob'], tail: ['bob'], token: ['bob'] }[command] ?? []
    const { code, stdout, stderr } = await glimpse([command, ...args], { cwd })
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toContain(join(cwd, '.glimpse/jwt-secret'))
    expect(await readdir(cwd)).toEqual([])
  })
})

describe('glimpse status', () => {
  it('ends with 0 where the service is ready, and with 1 and the reason where it is not', async () => {
    const instance = await startInstance({ DRAIN_TIMEOUT_MS: '8000' })
    onTestFinished(() => instance.close())
    await open('sse', await instance.caller('ann'))
    expect(await glimpse(['status', '--url', instance.url])).toEqual({
      code: 0,
      stdout: `ready  ${instance.url}\n`,
      stderr: '',
    })
    void instance.drain()
    const draining = await glimpseHere(['status', '--json'], { GLIMPSE_URL: instance.url })
    // It takes no new connections any more; whoever still has one hears that it drains.
    expect([1, 5]).toContain(draining.code)
  })

  it('ends with 5 where nobody listens, and with 3 where something else does', async () => {
    expect((await glimpseHere(['status', '--url', 'http://127.0.0.1:2'])).code).toBe(5)
    const server = createServer((_request, response) => response.end('hello'))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => void server.close())
    const { port } = server.address() as AddressInfo
    const { code, stderr } = await glimpseHere(['status'], { PORT: String(port) })
    expect([code, stderr]).toEqual([3, expect.stringMatching(/is not Glimpse/)])
  })
})

describe('glimpse version', () => {
  it('says the same as --version, and more with --json', async () => {
    const { stdout } = await glimpseHere(['--version'])
    expect((await glimpse(['version'])).stdout).toBe(stdout)
    const told = JSON.parse((await glimpseHere(['version', '--json'])).stdout)
    expect(told).toEqual({
      glimpse: stdout.trim(),
      node: process.versions.node,
      platform: `${process.platform}-${process.arch}`,
    })
  })
})

describe('glimpse completion', () => {
  it('completes commands and their options in bash', async () => {
    const { stdout } = await glimpseHere(['completion', 'bash'])
    const complete = (...words: string[]) =>
      execFileSync('bash', [
        '-c',
        `${stdout}\nCOMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _glimpse; echo "\${COMPREPLY[*]}"`,
        'bash',
        ...words,
      ])
        .toString()
        .trim()
    expect(complete('glimpse', 'st')).toBe('status')
    expect(complete('glimpse', 'tail', '--no')).toBe('--no-follow --no-retry')
    expect(complete('glimpse', 'send', '--ex')).toBe('--expires-in')
  })

  it.each(['zsh', 'fish'])('has every command and option for %s', async (shell) => {
    const { stdout } = await glimpseHere(['completion', shell])
    for (const word of [...COMMANDS, 'no-follow', 'expires-in', 'port']) expect(stdout).toContain(word)
  })
})
