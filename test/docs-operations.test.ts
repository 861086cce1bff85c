import { readdir, readFile } from 'node:fs/promises'
import { expect, it } from 'vitest'

/** Each call that logs a warning or worse: the level by its message, and those without a message of their own. */
async function logged(): Promise<{ levels: Record<string, string>; unnamed: Set<string> }> {
  const levels: Record<string, string> = {}
  const unnamed = new Set<string>()
  for (const file of await readdir('src', { recursive: true })) {
    if (!file.endsWith('.ts')) continue
    const source = await readFile(`src/${file}`, 'utf8')
    for (const { 1: level = '', index } of source.matchAll(/log\.(warn|error|fatal)\(/g)) {
      const call = source.slice(index, index + 400)
      const [, message] = /^[^(]+\(\s*(?:\{(?:(?!\}\)[,\n]).)*?\},\s*)?'((?:[^'\\]|\\.)+)'/s.exec(call) ?? []
      if (message === undefined) unnamed.add(call.split('\n')[0] ?? '')
      else levels[message] = level
    }
  }
  return { levels, unnamed }
}

it('docs/operations.md explains every line that is logged as a warning or worse, and none that is not', async () => {
  const page = await readFile('docs/operations.md', 'utf8')
  const rows = [...page.matchAll(/^\| (warn|error|fatal) \| `([^`]+)` \|/gm)]
  const { levels, unnamed } = await logged()
  expect(Object.fromEntries(rows.map(([, level, message]) => [message, level]))).toEqual(levels)
  expect(rows.length).toBeGreaterThan(10)
  // What these say is a StartError's: one line that names the variable and what to fix.
  expect([...unnamed].sort()).toEqual([
    'log.fatal(error instanceof StartError ? error.message : { err: error })',
    'log.fatal(error.message)',
    'log.fatal(problem)',
    'log.warn({ migration: message }),',
  ])
})

it('says what to do about each line that stands for an action', async () => {
  const page = await readFile('docs/operations.md', 'utf8')
  const rows = [...page.matchAll(/^\| (fatal|error) \| `([^`]+)` \| (.*) \| (.*) \|$/gm)]
  expect(rows.length).toBeGreaterThan(5)
  for (const [, , message, means, action] of rows) {
    expect([message, means]).not.toEqual([message, ''])
    expect([message, action?.trim()]).not.toEqual([message, ''])
  }
})
