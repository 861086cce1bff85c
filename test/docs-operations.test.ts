import { readdir, readFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { call } from './support/api.ts'
import { type Instance, startInstance } from './support/instance.ts'

let text: string
let instance: Instance
beforeAll(async () => {
  text = await readFile('docs/operations.md', 'utf8')
  instance = await startInstance()
})
afterAll(() => instance.close())

/** The lines of the table below a heading, without its head. */
function table(heading: string): string[][] {
  const [, section = ''] = text.split(`\n## ${heading}\n`)
  const [body = ''] = section.split('\n## ')
  const rows = body.split('\n').filter((line) => line.startsWith('|'))
  return rows.slice(2).map((line) =>
    line
      .split(/(?<!\\)\|/)
      .slice(1, -1)
      .map((cell) => cell.trim()),
  )
}

const code = (cell = '') => /^`([^`]+)`/.exec(cell)?.[1] ?? ''

/** What an instance tells: name → type and labels; a label shows once it has a value. */
async function told(): Promise<Map<string, string>> {
  const metrics = await call(instance.url, '/metrics')
  const types = metrics.text.matchAll(/^# TYPE (glimpse_\w+) (\w+)$/gm)
  return new Map([...types].map(([, name = '', type = '']) => [name, type]))
}

describe('docs/operations.md', () => {
  it('explains every metric there is, with its type, and none that is not', async () => {
    const explained = table('Metrics').map(([name, type]) => [code(name), type?.split(',')[0]])
    expect(Object.fromEntries(explained)).toEqual(Object.fromEntries(await told()))
  })

  it('asks in its alerts for metrics that there are', async () => {
    const known = await told()
    const asked = table('Alerts').flatMap(([, when = '']) => when.match(/glimpse_\w+/g) ?? [])
    expect(asked.length).toBeGreaterThan(8)
    for (const name of asked) expect([...known.keys()]).toContain(name.replace(/_(bucket|sum|count)$/, ''))
  })

  it('explains every line that is logged as a warning or worse, and none that is not', async () => {
    const logged = new Map<string, string>()
    const unnamed: string[] = []
    for (const file of await readdir('src', { recursive: true })) {
      if (!file.endsWith('.ts')) continue
      const source = await readFile(`src/${file}`, 'utf8')
      for (const { 1: level = '', index } of source.matchAll(/log\.(warn|error|fatal)\(/g)) {
        const call = source.slice(index, index + 400)
        const [, message] =
          /^[^(]+\(\s*(?:\{(?:(?!\}\)[,\n]).)*?\},\s*)?'((?:[^'\\]|\\.)+)'/s.exec(call) ?? []
        if (message === undefined) unnamed.push(call.split('\n')[0] ?? '')
        else logged.set(message, level)
      }
    }
    const explained = table('The log').map(([level, message]) => [code(message), level])
    expect(Object.fromEntries(explained)).toEqual(Object.fromEntries(logged))
    // What these say is a StartError's: one line that names the variable and what to mend.
    expect([...new Set(unnamed)].sort()).toEqual([
      'log.fatal(error instanceof StartError ? error.message : { err: error })',
      'log.fatal(error.message)',
      'log.fatal(fault)',
      'log.warn({ migration: message }),',
    ])
  })
})
