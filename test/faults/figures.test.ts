import { readFile } from 'node:fs/promises'
import { expect, it } from 'vitest'
import { figuresPage } from './figures.ts'
import type { Figures } from './prover/checker.ts'
import type { Scenario } from './prover/scenario.ts'
import type { Outcome } from './run.ts'
import { SCENARIOS } from './scenarios/index.ts'

const scenario: Scenario = {
  name: 'a-fault',
  promise: 'something breaks: nothing is lost',
  quick: false,
  planted: { bug: { name: 'a bug', edits: [] }, foundIn: 'lost' },
  run: async () => {},
}
const FIGURES: Figures = {
  acked: 1234,
  delivered: 5678,
  lost: 0,
  duplicated: 0,
  misordered: 0,
  late: 0,
  resets: 0,
  unkept: 0,
  maxResumeMs: 12.4,
  maxLagMs: 99,
}
const kept: Outcome = {
  scenario,
  planted: false,
  seconds: 7,
  figures: FIGURES,
  ok: true,
  findings: [],
  notes: ['back after 5 ms'],
}
const found: Outcome = { ...kept, planted: true, figures: { ...FIGURES, lost: 41 } }

function page(...outcomes: Outcome[]): string {
  return figuresPage({
    outcomes,
    words: ['--report=x.md'],
    endedAt: new Date('2026-01-02'),
    seconds: 600,
    postgres: '18.4',
  })
}

it('has a line for each scenario, one for each planted bug, and what the scenario measured', () => {
  const text = page(kept, found)
  expect(text).toContain('`npm run test:faults -- --report=x.md` on 2026-01-02, in 10 min')
  expect(text).toContain('| a-fault | 1,234 | 5,678 | 0 | 0 | 0 | 0 | 0 | 0 | 12 | 99 | 7 | kept |')
  expect(text).toContain('| a-fault | a bug | lost | 41 | found |')
  expect(text).toContain('**a-fault**: something breaks: nothing is lost\n- back after 5 ms')
})

it('hides nothing: neither what was broken, nor a bug that was not found, nor what was skipped', () => {
  const text = page(
    { ...kept, ok: false, figures: { ...FIGURES, lost: 1 }, findings: ['ws 1 of a: never got event 3'] },
    { ...found, ok: false, figures: FIGURES },
    { ...kept, scenario: { ...scenario, name: 'another' }, skipped: 'needs root', figures: undefined },
  )
  expect(text).toContain('| BROKEN |')
  expect(text).toContain('- ws 1 of a: never got event 3')
  expect(text).toContain('| NOT FOUND |')
  expect(text).toContain('- skipped: needs root')
})

it.each(
  SCENARIOS.map(({ name }) => name),
)('docs/reliability.md says which promise %s proves', async (name) => {
  expect(await readFile(new URL('../../docs/reliability.md', import.meta.url), 'utf8')).toContain(
    `\`${name}\``,
  )
})
