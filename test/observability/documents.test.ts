import { spawnSync } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { parse, stringify } from 'yaml'
import { createMetrics } from '../../src/observability/metrics.ts'
import { declaredMetrics } from '../support/declared-metrics.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const read = (path: string) => readFile(join(root, path), 'utf8')

interface Rule {
  readonly alert: string
  readonly expr: string
}

interface Panel {
  readonly id: number
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number }
  readonly targets?: readonly { readonly expr: string }[]
}

const metrics = declaredMetrics()
let alerts: readonly Rule[]
let panels: readonly Panel[]
let page: string
beforeAll(async () => {
  alerts = parse(await read('docs/prometheus/alerts.yml')).groups.flatMap(
    ({ rules }: { rules: Rule[] }) => rules,
  )
  panels = JSON.parse(await read('docs/grafana/glimpse.json')).panels
  page = await read('docs/observability.md')
})

const queries = () => [
  ...alerts.map(({ expr }) => expr),
  ...panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr)),
]

/** The metric a sample's name is of: a histogram's samples carry a suffix. */
const metricOf = (sample: string) =>
  metrics.get(sample) ??
  [metrics.get(sample.replace(/_(bucket|sum|count)$/, ''))].find((metric) => metric?.type === 'histogram')

describe('every query of the dashboard and the alerts', () => {
  it('asks for metrics there are, by labels they have', () => {
    expect(queries().length).toBeGreaterThan(50)
    for (const query of queries()) {
      const samples = [...query.matchAll(/\b((?:glimpse|nodejs|process)_\w+)(?:\{([^}]*)\})?/g)]
      expect(samples.length, query).toBeGreaterThan(0)
      for (const [, name = '', matchers = ''] of samples) {
        const metric = metricOf(name)
        expect(metric, `${name} in ${query}`).toBeDefined()
        const grouped = [...query.matchAll(/\b(?:by|on) \(([^)]*)\)/g)].flatMap(([, list = '']) =>
          list.split(/, */),
        )
        const asked = [...matchers.matchAll(/(\w+)=/g)].map(([, label = '']) => label)
        // Prometheus itself adds the instance; le is what a histogram's buckets are told apart by.
        for (const label of [...asked, ...grouped].filter((one) => !['instance', 'job', 'le'].includes(one)))
          expect(metric?.labelNames, `${label} of ${name}`).toContain(label)
      }
    }
  })

  it('is what Prometheus can parse', async ({ skip }) => {
    skipWithoutPromtool(skip)
    const rules = queries().map((query, i) => ({
      record: `query_${i}`,
      expr: query.replaceAll('$__rate_interval', '5m').replaceAll('$instance', '.*'),
    }))
    await promtool(['check', 'rules'], stringify({ groups: [{ name: 'queries', rules }] }))
  })
})

it('each of our metrics is on the dashboard', () => {
  const shown = JSON.stringify(panels)
  const missing = [...metrics.keys()].filter((name) => name.startsWith('glimpse_') && !shown.includes(name))
  expect(missing).toEqual([])
})

it('the panels of the dashboard have numbers of their own, and none lies on another', () => {
  const places = panels.map(({ id, gridPos: { x, y, w, h } }) => ({
    id,
    left: x,
    top: y,
    right: x + w,
    bottom: y + h,
  }))
  expect(new Set(places.map(({ id }) => id)).size).toBe(places.length)
  for (const a of places) {
    expect(a.right).toBeLessThanOrEqual(24)
    const covered = places.filter(
      (b) => b !== a && a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom,
    )
    expect(covered).toEqual([])
  }
})

describe('the alerts', () => {
  it('fire for what they are for, and for nothing less', async ({ skip }) => {
    skipWithoutPromtool(skip)
    // As the file says.
    const file = 'test/observability/alerts.yml'
    const ran = spawnSync('promtool', ['test', 'rules', file], { cwd: root, encoding: 'utf8' })
    expect(ran.status, `${ran.stdout}${ran.stderr}`).toBe(0)
    const tests = await read(file)
    const checks: { alertname: string; exp_alerts?: unknown }[] = parse(tests).tests.flatMap(
      ({ alert_rule_test }: { alert_rule_test: unknown[] }) => alert_rule_test,
    )
    const names = (fires: boolean) =>
      checks
        .filter(({ exp_alerts }) => (exp_alerts !== undefined) === fires)
        .map(({ alertname }) => alertname)
    for (const fires of [true, false])
      expect(new Set(names(fires)), `seen ${fires ? 'to fire' : 'silent'}`).toEqual(
        new Set(alerts.map(({ alert }) => alert)),
      )
  })

  it('count from 0: a series that begins with its first fault shows no increase', async () => {
    const text = await createMetrics().registry.metrics()
    const counted = alerts.flatMap(({ expr }) => [...expr.matchAll(/increase\((\w+)\{(\w+)=~?"([\w|]+)"\}/g)])
    expect(counted.length).toBeGreaterThan(3)
    for (const [, name, label, values = ''] of counted)
      for (const value of values.split('|'))
        expect(text).toMatch(new RegExp(`^${name}\\{${label}="${value}"\\} 0$`, 'm'))
  })
})

it('the scrape configuration on the page is what Prometheus takes', async ({ skip }) => {
  skipWithoutPromtool(skip)
  const [, sample = ''] = /^```yaml\n(scrape_configs:[\s\S]*?)^```$/m.exec(page) ?? []
  expect(sample).toContain('targets')
  await promtool(['check', 'config'], sample)
})

describe('our metrics', () => {
  it('are named as Prometheus wants them: unit and kind', () => {
    for (const { name, type, help } of metrics.values()) {
      expect(help.length, name).toBeGreaterThan(10)
      if (!name.startsWith('glimpse_')) continue
      expect(name.endsWith('_total'), name).toBe(type === 'counter')
      if (type === 'histogram') expect(name).toMatch(/_(seconds|rows|bytes)$/)
    }
  })

  it('are each in the documentation, and nothing else is', () => {
    const documented = [...page.matchAll(/^\| (`glimpse_.*?`) \|/gm)].flatMap(([, names = '']) =>
      [...names.matchAll(/`(glimpse_\w+)(?:\{[^`]*\})?`/g)].map(([, name]) => name),
    )
    const ours = [...metrics.keys()].filter((name) => name.startsWith('glimpse_'))
    expect(documented.toSorted()).toEqual(ours.toSorted())
  })
})

function skipWithoutPromtool(skip: (condition: boolean, note: string) => void): void {
  skip(spawnSync('promtool', ['--version']).status !== 0, 'promtool is not installed')
}

async function promtool(args: readonly string[], file: string): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'glimpse-promtool-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  await writeFile(join(folder, 'rules.yml'), file)
  const { status, stdout, stderr } = spawnSync('promtool', [...args, join(folder, 'rules.yml')], {
    encoding: 'utf8',
  })
  expect(status, `${stdout}${stderr}`).toBe(0)
}
