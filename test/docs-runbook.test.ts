import { readdir, readFile } from 'node:fs/promises'
import { beforeAll, describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { VARIABLES } from '../src/environment.ts'
import { PROBLEMS } from '../src/http/problem.ts'
import { CLOSES } from '../src/hub/connection.ts'
import { declaredMetrics } from './support/declared-metrics.ts'

let page: string
let levels: Record<string, string>
let unnamed: ReadonlySet<string>
let sources: string
beforeAll(async () => {
  page = await readFile('docs/runbook.md', 'utf8')
  ;({ levels, unnamed, sources } = await logged())
})

/** Each call that logs a warning or worse: the level by its message, and those without a message of their own. */
async function logged() {
  const levels: Record<string, string> = {}
  const unnamed = new Set<string>()
  let sources = ''
  for (const file of await readdir('src', { recursive: true })) {
    if (!file.endsWith('.ts')) continue
    const source = await readFile(`src/${file}`, 'utf8')
    sources += source
    for (const { 1: level = '', index } of source.matchAll(/log\.(warn|error|fatal)\(/g)) {
      const call = source.slice(index, index + 400)
      const [, message] = /^[^(]+\(\s*(?:\{(?:(?!\}\)[,\n]).)*?\},\s*)?'((?:[^'\\]|\\.)+)'/s.exec(call) ?? []
      if (message === undefined) unnamed.add(call.split('\n')[0] ?? '')
      else levels[message] = level
    }
  }
  return { levels, unnamed, sources }
}

/** A section of the page, without its heading. */
const section = (heading: string) => page.split(`\n${heading}\n`)[1]?.split(/\n## /)[0] ?? ''

describe('docs/runbook.md', () => {
  const rows = () => [...page.matchAll(/^\| (warn|error|fatal) \| `([^`]+)` \| (.*) \| (.*) \|$/gm)]

  it('explains every line that is logged as a warning or worse, once, and none that is not', () => {
    const explained = rows().map(([, level, message]) => [message, level])
    expect(explained.sort()).toEqual(Object.entries(levels).sort())
    // What these say is a StartError's: one line that names the variable and what to fix.
    expect([...unnamed].sort()).toEqual([
      'log.fatal(error instanceof StartError ? error.message : { err: error })',
      'log.fatal(error.message)',
      'log.fatal(problem)',
      'log.warn({ migration: message }),',
    ])
  })

  it('says what each line means and what to do', () => {
    for (const [, , message, means, action] of rows())
      expect([message, means?.trim() !== '', action?.trim() !== '']).toEqual([message, true, true])
  })

  it('explains each alert, and each alert has the link to it', async () => {
    const alerts = parse(await readFile('docs/prometheus/alerts.yml', 'utf8')).groups.flatMap(
      ({ rules }: { rules: { alert: string; annotations: { runbook: string } }[] }) => rules,
    )
    expect(alerts.length).toBeGreaterThan(20)
    const explained = [...section('## Alerts').matchAll(/^### (\w+)\n\n(.{40,})$/gm)].map(([, name]) => name)
    expect(explained.sort()).toEqual(alerts.map(({ alert }: { alert: string }) => alert).sort())
    for (const { alert, annotations } of alerts)
      expect(annotations.runbook).toBe(`docs/runbook.md#${alert.toLowerCase()}`)
  })

  it('names for each symptom what to look at, and all of that exists', () => {
    const metrics = declaredMetrics()
    const known = new Set([
      ...metrics.keys(),
      ...Object.keys(levels),
      ...Object.keys(PROBLEMS),
      ...Object.keys(CLOSES),
      ...VARIABLES,
      // Fields of answers and of log lines, and a command.
      'reasons',
      'detail',
      'recorded',
      'fatal',
      'glimpse doctor',
    ])
    const symptoms = [...section('## Symptoms').matchAll(/^\| ([^|`][^|]*) \| (.*`.*) \| (.+) \| (.+) \|$/gm)]
    expect(symptoms.length).toBeGreaterThan(20)
    for (const [row, symptom, where = ''] of symptoms) {
      const signals = [...where.matchAll(/`([^`]+)`/g)].map(([, signal = '']) => signal)
      for (const signal of signals) {
        const [, label = '', value = ''] = /^(\w+)="(\w+)"$/.exec(signal) ?? []
        if (label === '') expect(known.has(signal), `${symptom}: ${signal}`).toBe(true)
        else {
          const metric = signals.find((name) => metrics.get(name)?.labelNames.includes(label))
          expect(metric, `${symptom}: ${signal}`).toBeDefined()
          expect(sources, `${symptom}: ${signal}`).toMatch(new RegExp(`['"\`]${value}['"\`]|\\b${value}:`))
        }
      }
      // A row with a bar too many would show its fix as its cause.
      expect(row.split(' | '), symptom).toHaveLength(4)
    }
  })
})
