import { spawn } from 'node:child_process'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { formatTable } from '../../scripts/table.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'

const SCRIPT = fileURLToPath(new URL('../../scripts/sql.ts', import.meta.url))

let database: TestDatabase
beforeAll(async () => {
  database = await createDatabase()
})
afterAll(() => database.drop())

describe('npm run sql', () => {
  test('prints rows as aligned tables and commands as their tags', async () => {
    const { code, output } = await sql([
      `CREATE TABLE people (id int, name text); INSERT INTO people VALUES (1, 'bob'), (20, NULL);
       SELECT * FROM people; DELETE FROM people WHERE id = 1 RETURNING name`,
    ])
    expect(output).toBe(
      [
        'CREATE TABLE',
        'INSERT 0 2',
        ' id | name',
        '----+------',
        '  1 | bob',
        ' 20 |',
        '(2 rows)',
        ' name',
        '------',
        ' bob',
        '(1 row)',
        'DELETE 1',
        '',
      ].join('\n'),
    )
    expect(code).toBe(0)
  })

  test('reads standard input where no argument is given', async () => {
    expect((await sql([], { input: 'SELECT 1 AS one;\n-- the end\n' })).output).toContain(
      ' one\n-----\n   1\n(1 row)\n',
    )
  })

  test('puts errors on standard error, after what came before them, and fails', async () => {
    const result = await sql([
      `SELECT 1; INSERT INTO glimpse.story_views (story_id, viewer_id) VALUES (gen_random_uuid(), 'bob')`,
    ])
    expect(result.output).toContain('(1 row)')
    expect(result.errors).toMatch(/^ERROR: .*foreign key.*\nDETAIL: .*\n$/)
    expect(result.code).toBe(1)
  })

  test('prints notices, COPY TO STDOUT, and refuses COPY FROM STDIN instead of waiting', async () => {
    const result = await sql([
      `DO $$ BEGIN RAISE NOTICE 'hello'; END $$; COPY (SELECT 1, 'a') TO STDOUT; COPY glimpse.stories FROM STDIN`,
    ])
    expect(result.output).toBe('DO\n1\ta\nCOPY 1\n')
    expect(result.errors).toContain('NOTICE: hello\n')
    expect(result.errors).toContain('needs psql')
    expect(result.code).toBe(1)
  })

  test('prints the URL for psql', async () => {
    expect(await sql(['--url'])).toEqual({ code: 0, output: `${database.url}\n`, errors: '' })
  })

  test.each([
    {
      fault: 'no server',
      env: { DATABASE_URL: '', DATA_DIR: '/nonexistent' },
      line: /^sql: DATABASE_URL is not set .* DATA_DIR \/nonexistent; start Glimpse first\n$/,
    },
    {
      fault: 'an unreachable server',
      env: { DATABASE_URL: 'postgres://127.0.0.1:1/x' },
      line: /^ERROR: .*ECONNREFUSED.*\n$/,
    },
  ])('says in one line that there is $fault', async ({ env, line }) => {
    const result = await sql(['SELECT 1'], { env })
    expect(result.errors).toMatch(line)
    expect(result.code).toBe(1)
  })
})

describe('a table', () => {
  const columns = [
    { name: 'v', numeric: false },
    { name: 'n', numeric: true },
  ]

  test('stays aligned beside emoji, which a terminal gives two places', () => {
    const lines = formatTable(columns, [
      ['❤️', '1'],
      ['ab', '2'],
      ['👍🏽', '3'],
    ]).split('\n')
    expect(lines.slice(2, 5)).toEqual([' ❤️ | 1', ' ab | 2', ' 👍🏽 | 3'])
  })

  test('shows control characters instead of sending them to the terminal', () => {
    expect(formatTable(columns, [['a\n\u001b[31m', '1']])).toContain(' a\\n\\x1b[31m | 1')
  })
})

async function sql(
  args: readonly string[],
  { input = '', env = {} }: { input?: string; env?: Record<string, string> } = {},
): Promise<{ code: number | null; output: string; errors: string }> {
  const child = spawn(process.execPath, ['--import', 'tsx', SCRIPT, ...args], {
    env: { PATH: process.env.PATH, DATABASE_URL: database.url, ...env },
  })
  child.stdin.end(input)
  const closed = new Promise<number | null>((resolve) => child.once('close', resolve))
  const [output, errors, code] = await Promise.all([text(child.stdout), text(child.stderr), closed])
  return { code, output, errors }
}
