import { readFile } from 'node:fs/promises'
import { expect, it } from 'vitest'
import { example, generated, tables } from '../../scripts/configuration.ts'
import { GROUPS } from '../../scripts/variables.ts'
import { parseConfig } from '../../src/config.ts'
import { VARIABLES } from '../../src/environment.ts'

it('docs/configuration.md and .env.example are as `npm run configuration` writes them', async () => {
  for (const [path, text] of Object.entries(await generated()))
    expect(await readFile(path, 'utf8')).toBe(text)
})

it('they have every variable, each once', () => {
  const described = GROUPS.flatMap(({ variables }) => Object.keys(variables))
  expect(described.sort()).toEqual([...VARIABLES].sort())
  const rows = [...tables().matchAll(/^\| `(\w+)` \| \S.* \| \S.* \| \S.* \|$/gm)].map(([, name]) => name)
  expect(rows.sort()).toEqual(described)
  const stated = [...example().matchAll(/^#?([A-Z_]+)=.+$/gm)].map(([, name]) => name)
  expect(stated.sort()).toEqual(described)
})

it('.env.example as it stands changes nothing, and its examples are taken', () => {
  const read = (pattern: RegExp) =>
    Object.fromEntries([...example().matchAll(pattern)].map(([, name, value]) => [name, value]))
  const defaults = parseConfig({})
  expect(defaults.ok).toBe(true)
  expect(parseConfig(read(/^([A-Z_]+)=(.*)$/gm))).toEqual(defaults)
  // Files that are not there.
  const examples = read(/^#(?!\w+_FILE=|BUS_C|NODE_ENV=)([A-Z_]+)=(.*)$/gm)
  expect(Object.keys(examples).length).toBeGreaterThan(10)
  expect(parseConfig(examples)).toMatchObject({ ok: true })
})

it('a range in the table is the range that is taken', () => {
  const ranges = [...tables().matchAll(/^\| `(\w+)` \| (\d+) to (\d+) \|/gm)]
  expect(ranges.length).toBeGreaterThan(25)
  const problems = (name = '', value: number) => {
    const parsed = parseConfig({ REQUEST_TIMEOUT_MS: '3600000', [name]: String(value) })
    return parsed.ok ? [] : parsed.problems.filter((problem) => problem.includes('whole number'))
  }
  for (const [, name, least, most] of ranges) {
    expect([name, problems(name, Number(least)), problems(name, Number(most))]).toEqual([name, [], []])
    expect(problems(name, Number(most) + 1), name).toHaveLength(1)
    expect(problems(name, Number(least) - 1), name).toHaveLength(1)
  }
})
