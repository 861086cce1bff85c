import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { SUITES, suiteOf } from './suites.ts'

const ROOT = new URL('../../', import.meta.url)
const read = (name: string) => readFileSync(new URL(name, ROOT), 'utf8')

const threats = read('SECURITY.md')
  .split('\n')
  .slice(read('SECURITY.md').split('\n').indexOf('| threat | what Glimpse does | shown by |') + 2)
  .filter((line) => line.startsWith('|'))
  .map((line) => {
    const [, threat = '', measure = '', shown = ''] = line.split('|').map((cell) => cell.trim())
    return { threat, measure, tests: [...shown.matchAll(/`(test\/[^`]+)`/g)].map(([, file = '']) => file) }
  })
const suites = readdirSync(new URL('test/security/', ROOT))
  .filter((name) => name.endsWith('.test.ts') && name !== 'threat-model.test.ts')
  .map((name) => `test/security/${name}`)

it.each(
  threats.map((row) => [row.threat, row] as const),
)('%s: is met, and shown by tests that exist', (_, row) => {
  expect(row.measure).not.toBe('')
  expect(row.tests).not.toEqual([])
  expect(row.tests.filter((file) => !existsSync(new URL(file, ROOT)))).toEqual([])
})

it('every suite shows that a threat is met', () => {
  const named = new Set(threats.flatMap(({ tests }) => tests))
  expect(suites.filter((file) => !named.has(file))).toEqual([])
})

it('every suite is run by npm run test:security', () => {
  expect(suites.filter((file) => suiteOf(file) === undefined)).toEqual([])
  expect(SUITES.flatMap(({ files }) => files).filter((file) => !existsSync(new URL(file, ROOT)))).toEqual([])
})

it('every variable that SECURITY.md names is in .env.example', () => {
  const known = read('.env.example')
  const named = [...read('SECURITY.md').matchAll(/`([A-Z]+(?:_[A-Z]+)+)(?:=\w+)?`/g)].map(
    ([, name = '']) => name,
  )
  expect(named.length).toBeGreaterThan(10)
  expect(named.filter((name) => !new RegExp(`^#? ?${name}=`, 'm').test(known))).toEqual([])
})
