import { execFile, spawn } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import postgres from 'postgres'
import { afterAll, beforeAll, describe, it, type TestContext } from 'vitest'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { spawnInstance } from '../support/instance.ts'
import { insertReaction, insertStory, upTo } from '../support/sql-writer.ts'
import { signToken } from '../support/token.ts'

/** The programs of docs/other-languages.md, run as they stand with what this machine has. */
interface Program {
  readonly language: string
  readonly file: string
  /** What must answer for the language to count as installed. */
  readonly probe: readonly [string, ...string[]]
  /** Run first, for as long as it takes. */
  readonly build?: readonly [string, ...string[]]
  readonly run: readonly [string, ...string[]]
}

const PROGRAMS: readonly Program[] = [
  { language: 'python', file: 'follow.py', probe: ['python3', '--version'], run: ['python3', 'follow.py'] },
  {
    language: 'go',
    file: 'follow.go',
    probe: ['go', 'version'],
    build: ['go', 'build', '-o', 'follow', 'follow.go'],
    run: ['./follow'],
  },
  {
    language: 'kotlin',
    file: 'Follow.kt',
    probe: ['kotlinc', '-version'],
    build: ['kotlinc', 'Follow.kt', '-include-runtime', '-d', 'follow.jar'],
    run: ['java', '-jar', 'follow.jar'],
  },
  { language: 'sh', file: 'follow.sh', probe: ['curl', '--version'], run: ['sh', 'follow.sh'] },
]

let database: TestDatabase
let sql: postgres.Sql
beforeAll(async () => {
  database = await createDatabase()
  sql = postgres(database.url, { max: 1 })
})
afterAll(async () => {
  await sql.end()
  await database.drop()
})

const execute = (command: readonly [string, ...string[]], cwd?: string) =>
  promisify(execFile)(command[0], command.slice(1), { cwd, timeout: 240_000 })

const isInstalled = (program: Program) =>
  execute(program.probe).then(
    () => true,
    () => false,
  )

/** The program in a folder of its own, built. */
async function prepare({ language, file, build }: Program, context: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'glimpse-language-'))
  context.onTestFinished(() => rm(folder, { recursive: true, force: true }))
  const page = await readFile('docs/other-languages.md', 'utf8')
  const [, code] = new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, 'm').exec(page) ?? []
  if (code === undefined) throw new Error(`docs/other-languages.md has no ${language} program`)
  await writeFile(join(folder, file), code)
  if (build !== undefined) await execute(build, folder)
  return folder
}

// They mostly wait: for the ends of their tokens, and before they connect again.
describe.concurrent.each(PROGRAMS)('the $language program', (program) => {
  it('survives the end of its token and a lost service, and misses and repeats nothing', async (context) => {
    const { expect } = context
    context.skip(!(await isInstalled(program)), `${program.probe[0]} is not installed`)
    const folder = await prepare(program, context)
    const environment = {
      DATABASE_URL: database.url,
      MIGRATE: 'off',
      HEARTBEAT_INTERVAL_MS: '1000',
      JWT_CLOCK_TOLERANCE_S: '0',
    }
    let main = await spawnInstance(environment)
    context.onTestFinished(() => void main.child.kill('SIGKILL'))
    const user = `alice-${program.language}`
    const story = await insertStory(sql, user)
    let made = 0
    const make = () => insertReaction(sql, story, `bob-${++made}`, '🎉')

    await writeFile(join(folder, 'token'), `${await signToken(user, { expiresIn: 4 })}\n`)
    // A group of its own: the shell's program is several processes.
    const child = spawn(program.run[0], program.run.slice(1), {
      cwd: folder,
      detached: true,
      env: { PATH: process.env.PATH, HOME: process.env.HOME, API: main.url },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    context.onTestFinished(() => void process.kill(-(child.pid ?? Number.NaN), 'SIGKILL'))
    let output = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text
    })
    const seqs = () =>
      output
        .split('\n')
        .slice(0, -1)
        .map((line) => JSON.parse(line).seq)

    await expect.poll(() => connectionsOf(user), PATIENCE).toBe(1)
    await make()
    await expect.poll(seqs, PATIENCE).toEqual(upTo(1))
    // Its token ends: it is refused with the old one until there is a new one.
    await expect.poll(() => connectionsOf(user), PATIENCE).toBe(0)
    await make()
    await writeFile(join(folder, 'token'), await signToken(user))
    await expect.poll(seqs, PATIENCE).toEqual(upTo(2))

    await main.kill('SIGKILL')
    await make()
    main = await spawnInstance({ ...environment, PORT: new URL(main.url).port })
    await expect.poll(seqs, PATIENCE).toEqual(upTo(3))
    await make()
    await expect.poll(seqs, PATIENCE).toEqual(upTo(4))
  }, 300_000)
})

const PATIENCE = { timeout: 60_000, interval: 50 }

async function connectionsOf(user: string): Promise<number> {
  const rows = await sql`select from glimpse.connections where user_id = ${user}`
  return rows.length
}
