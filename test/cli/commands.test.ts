import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { createTokenVerifier } from '../../src/auth/verifier.ts'
import { createLogger } from '../../src/observability/log.ts'
import { migrationNames } from '../../src/store/migrations.ts'
import type { Story } from '../support/api.ts'
import { glimpse, spawnGlimpse } from '../support/cli.ts'
import { createDatabase } from '../support/database.ts'
import { query } from '../support/embedded/server.ts'
import { type Instance, startInstance } from '../support/instance.ts'
import { TEST_SECRET } from '../support/token.ts'

const COMMANDS = ['serve', 'migrate', 'token', 'tail', 'send', 'doctor']

describe('glimpse', () => {
  it('lists its commands when asked, and as a refusal where none is named', async () => {
    const asked = await glimpse(['--help'])
    expect(asked.code).toBe(0)
    for (const name of COMMANDS) expect(asked.stdout).toMatch(new RegExp(`^  ${name} +\\w`, 'm'))
    expect(await glimpse([])).toEqual({ code: 2, stdout: '', stderr: asked.stdout })
  })

  it.each(COMMANDS)('explains %s, with its exit codes', async (name) => {
    const { code, stdout, stderr } = await glimpse([name, '--help'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(new RegExp(`^Usage: glimpse ${name}`))
    expect(stdout).toMatch(/\nExit codes: 0 .*2 called wrongly/)
    expect(await glimpse(['help', name])).toMatchObject({ code: 0, stdout })
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

  it.each([
    [['doctr'], /there is no command doctr; did you mean doctor\?/],
    [['toString'], /there is no command toString; glimpse --help/],
    [['frobnicate'], /there is no command frobnicate; glimpse --help/],
    [['doctor', '--jsno'], /'--jsno'; did you mean --json\?/],
    [['serve', 'now'], /serve takes no arguments/],
    [['migrate', 'now'], /migrate takes no arguments/],
    [['doctor', 'now'], /doctor takes no arguments/],
    [['token'], /name one user/],
    [['token', 'a', 'b'], /name one user/],
    [['tail'], /either a user, or --token/],
    [['tail', 'a', 'b'], /name one user/],
    [['tail', 'a', '--transport', 'pigeon'], /--transport must be one of auto/],
    [['tail', 'a', '--count', 'all'], /--count must be/],
    [['send'], /say what to send/],
    [['send', 'view', '--as', 'bob'], /name one story/],
    [['send', 'reaction', 'x', '--as', 'bob'], /name a story and an emoji/],
    [['send', 'story', 'two', 'words', '--as', 'bob'], /in quotes/],
    [['send', 'story'], /either --as, or --token/],
    [['send', 'story', '--as', 'bob', '--token', 'x'], /either --as, or --token/],
    [['send', 'story', '--as', 'bob', '--url', 'here'], /--url must be/],
  ])('refuses %j in one line, with 2', async (args, line) => {
    const { code, stdout, stderr } = await glimpse(args, { environment: { JWT_SECRET: TEST_SECRET } })
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
  it('prints a token of JWT_SECRET and nothing else', async () => {
    const { code, stdout, stderr } = await glimpse(['token', 'alice'], {
      environment: { JWT_SECRET: TEST_SECRET },
    })
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const verifier = createTokenVerifier({ secrets: [TEST_SECRET], log: createLogger('silent') })
    expect(await verifier.verify(stdout.trim())).toMatchObject({ user: 'alice' })
  })

  it('ends with 1 and one line for a fault', async () => {
    const { code, stderr } = await glimpse(['token', 'alice'], { environment: { JWT_SECRET: 'short' } })
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
    expect(stdout).toMatch(/DATABASE_URL: must be set/)
  })
})

describe('glimpse serve', () => {
  it('serves until SIGTERM, and ends with 0', async () => {
    const database = await createDatabase()
    onTestFinished(() => database.drop())
    const child = spawnGlimpse(['serve'], {
      environment: { DATABASE_URL: database.url, JWT_SECRET: TEST_SECRET, PORT: '0' },
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

  const send = (...args: string[]) => {
    const { port } = new URL(instance.url)
    return glimpse(['send', ...args], { cwd: folder, environment: { JWT_SECRET: TEST_SECRET, PORT: port } })
  }

  it('writes a story, a view and a reaction, which make their events', async () => {
    const alice = await instance.caller('alice')
    const story = await send('story', 'Fog over the harbour', '--as', alice.user, '--expires-in', '600')
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
    [['story', '--as', 'bob', '--expires-in', 'soon'], /400 Invalid field: expires_in must be/],
    [['story', '--token', 'x'], /401 Unauthorized/],
    [
      ['story', '--as', 'bob', '--url', 'http://127.0.0.1:2'],
      /cannot be reached \(ECONNREFUSED\); .*glimpse serve/,
    ],
  ])('says what the service said of %j, with 1', async (args, line) => {
    const { code, stdout, stderr } = await send(...args)
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toMatch(/^send: [^\n]+\n$/)
    expect(stderr).toMatch(line)
  })
})
