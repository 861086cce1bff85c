import { spawnSync } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { parseConfig } from '../../src/config.ts'
import { VARIABLES } from '../../src/environment.ts'

const readUnit = () => readFile(new URL('../../deploy/glimpse@.service', import.meta.url), 'utf8')

it('the unit is what systemd understands', async ({ skip }) => {
  skip(spawnSync('systemd-analyze', ['--version']).status !== 0, 'systemd-analyze is not installed')
  const folder = await mkdtemp(join(tmpdir(), 'glimpse-unit-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  const path = join(folder, 'glimpse@.service')
  await writeFile(path, (await readUnit()).replace('/usr/bin/node', process.execPath))
  const { stderr, stdout } = spawnSync('systemd-analyze', ['verify', '--man=no', path], { encoding: 'utf8' })
  expect(`${stdout}${stderr}`.split('\n').filter((line) => line.includes(path))).toEqual([])
})

it('the unit hands its secrets over as credentials, by variables there are', async () => {
  const unit = await readUnit()
  const loaded = [...unit.matchAll(/^LoadCredential=([\w-]+):(\/\S+)$/gm)].map(([, name]) => name)
  const variables = [...unit.matchAll(/([A-Z_]+)=%d\/([\w-]+)/g)].map(([, variable, name]) => [
    variable,
    name,
  ])
  expect(variables.map(([, name]) => name)).toEqual(loaded)
  expect(loaded.length).toBe(2)
  for (const [variable] of variables) expect(VARIABLES).toContain(variable)
  // Nothing else may carry one.
  expect(unit).not.toMatch(/^Environment=.*(JWT_SECRET|DATABASE_URL)=/m)
})

it('the unit lets an instance drain, and has a file for every connection', async () => {
  const settings = new Map(
    (await readUnit())
      .split('\n')
      .filter((line) => /^\w+=/.test(line))
      .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
  )
  const defaults = parseConfig({})
  if (!defaults.ok) throw new Error('no defaults')
  const { drainTimeoutMs, maxConnections } = defaults.config
  expect(Number(settings.get('TimeoutStopSec')) * 1000).toBeGreaterThan(drainTimeoutMs)
  expect(Number(settings.get('LimitNOFILE'))).toBeGreaterThan(maxConnections)
  expect(settings.get('ExecStart')).toBe('/usr/bin/node dist/main.js')
})
