import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'

const page = await readFile('CONTRIBUTING.md', 'utf8')

interface Row {
  readonly what: string
  readonly file: string
  readonly names: readonly string[]
}

/** The rows of a section's table: what it is about, the file, and what is to be found there. */
function rowsOf(heading: string): Row[] {
  const from = page.indexOf(`\n## ${heading}\n`)
  expect(from, heading).toBeGreaterThan(-1)
  const section = page.slice(from + 1, page.indexOf('\n## ', from + 1))
  return [...section.matchAll(/^\| ([^|]+) \| `([^`|]+)` \| ([^|]+) \|/gm)].map(
    ([, what = '', file = '', names = '']) => ({
      what,
      file,
      names: [...names.matchAll(/`([^`]+)`/g)].map(([, name = '']) => name),
    }),
  )
}

const walk = rowsOf('One event, file by file')
const changes = rowsOf('Where a change goes')

describe('CONTRIBUTING.md', () => {
  it.each([...walk, ...changes])('$what: $file has what it names', async ({ file, names }) => {
    const text = await readFile(file, 'utf8')
    expect(names).not.toEqual([])
    for (const name of names) expect(text).toContain(name)
  })

  it('names no file that is not there', () => {
    const files = [...page.matchAll(/`((?:src|test|docs|migrations|deploy)\/[\w./-]+|biome\.json)`/g)]
    expect(files.length).toBeGreaterThan(20)
    for (const [, file = ''] of files) expect(existsSync(file), file).toBe(true)
  })

  it('follows the event through the folders in the order in which they are laid out', () => {
    const rooms = walk.map(({ file }) => (file.startsWith('migrations/') ? 'migrations' : file.split('/')[1]))
    const first = [...new Set(rooms)]
    expect(first).toEqual(['http', 'store', 'migrations', 'postgres', 'bus', 'hub', 'transport', 'client'])
  })

  it('says of each folder of tests what it has', async () => {
    const from = page.indexOf('\n## Which tests are where\n')
    const map = page.slice(from, page.indexOf('\n## ', from + 1))
    const named = [...map.matchAll(/^\| ([^|]+) \|/gm)].flatMap(([, folders = '']) =>
      [...folders.matchAll(/`test\/(\w+)\/`/g)].map(([, folder]) => folder),
    )
    const folders = (await readdir('test', { withFileTypes: true })).filter((entry) => entry.isDirectory())
    expect(named.sort()).toEqual(folders.map(({ name }) => name).sort())
    const scripts = Object.keys(JSON.parse(await readFile('package.json', 'utf8')).scripts)
    const commands = [...map.matchAll(/`npm run ([\w:]+)/g)].map(([, script]) => script)
    expect(scripts).toEqual(expect.arrayContaining(commands))
  })

  it('names for each function of the database the newest migration that defines it', async () => {
    const migrations = (await readdir('migrations')).sort()
    const functions = [...walk, ...changes]
      .filter(({ file }) => file.startsWith('migrations/'))
      .flatMap(({ file, names }) =>
        names.filter((name) => name.startsWith('glimpse.')).map((name) => ({ file, name })),
      )
    expect(functions.length).toBeGreaterThan(3)
    for (const { file, name } of functions) {
      const defines = new RegExp(`create (?:or replace )?function ${name.replace('.', '\\.')}\\(`)
      let newest = ''
      for (const migration of migrations)
        if (defines.test(await readFile(`migrations/${migration}`, 'utf8')))
          newest = `migrations/${migration}`
      expect(file, name).toBe(newest)
    }
  })

  it('answers what a stranger asks first', () => {
    expect(changes.map(({ what, file }) => [what, file])).toEqual([
      ['what a new event type may contain', expect.stringMatching(/^migrations\//)],
      ['the deadline of a statement', 'src/postgres/database.ts'],
      ['a quota', 'src/limits/limits.ts'],
      ['a header of the answers', 'src/http/answer.ts'],
      ['a metric', 'src/observability/metrics.ts'],
      ['an option of the client', 'src/client/types.ts'],
    ])
  })
})
