import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import type { Figures } from '../../scripts/scaling/figures.ts'
import { instancesFor, strain } from '../../scripts/scaling/system.ts'
import { connectionsOfInstance, FIGURES, sizeOf } from '../../src/cli/sizing.ts'
import { parseConfig } from '../../src/config.ts'
import { glimpseHere } from '../support/cli.ts'

const LOAD = { users: 20_000, connectionsPerUser: 1, views: 1_000_000, peak: 5, retentionHours: 168 }

const figures: Figures = {
  ...FIGURES,
  postgres: { event: FIGURES.postgresEventUs, statement: FIGURES.postgresStatementUs },
  own: { event: FIGURES.instanceEventUs, statement: FIGURES.instanceStatementUs },
  foreign: { event: 0, statement: FIGURES.instanceStatementUs },
  relay: { event: 0, statement: 0 },
  nats: { event: 0, statement: 0 },
  ownByNats: { event: 0, statement: 0 },
  connectionKb: FIGURES.connectionBytes / 1000,
  resumeUs: 0,
  resumePostgresUs: 0,
}

describe('sizeOf', () => {
  it.each([
    LOAD,
    { ...LOAD, users: 1_000_000, views: 1_440_000_000, peak: 1 },
    { ...LOAD, users: 300_000, connectionsPerUser: 2, views: 50_000_000, peak: 20 },
    { ...LOAD, users: 10, views: 200_000_000, peak: 10 },
  ])('agrees with the model of the benchmarks, with one instance to spare: %j', (load) => {
    const eventsPerSecond = (load.views / 86_400) * load.peak
    const model = { users: load.users, connectionsPerUser: load.connectionsPerUser, eventsPerSecond }
    const sizing = sizeOf(load)
    const carrying = (sizing?.instances.count ?? 0) - 1
    // The model takes larger steps.
    expect(carrying).toBeLessThanOrEqual(instancesFor(figures, 1000, model) ?? 0)
    const { statements, postgresBusy, instanceBusy } = strain(figures, carrying, model)
    expect(sizing?.postgres.statementsPerSecond).toBeCloseTo(statements, 3)
    expect(sizing?.postgres.cores).toBeCloseTo(postgresBusy / 0.6, 3)
    expect(sizing?.instances.coresEach).toBeCloseTo(instanceBusy, 3)
    expect(instanceBusy).toBeLessThanOrEqual(0.6)
  })

  it('counts the connections of every instance and of one that replaces another', () => {
    const sizing = sizeOf(LOAD)
    expect(sizing?.instances.count).toBe(2)
    expect(sizing?.postgres.maxConnections).toBe(3 * connectionsOfInstance() + 10)
  })

  it('gives no instance more streams than MAX_CONNECTIONS allows', () => {
    const defaults = parseConfig({})
    const most = defaults.ok ? defaults.config.maxConnections : 0
    for (const users of [1, 50_000, 50_001, 2_000_000])
      expect(sizeOf({ ...LOAD, users })?.instances.connectionsEach).toBeLessThanOrEqual(most)
  })

  it('says where one database is not enough', async () => {
    expect(sizeOf({ ...LOAD, users: 100_000_000, views: 1e11 })).toBeUndefined()
    const { code, stderr } = await glimpseHere(['size', '--users', '100M', '--views', '100000M'])
    expect(code).toBe(1)
    expect(stderr).toMatch(/divide the users over several/)
  })
})

it('the figures are those of docs/scaling.md, or of a machine that is up to twice as slow', () => {
  const page = readFileSync('docs/scaling.md', 'utf8')
  const measured = (symbol: string) =>
    Number(new RegExp(`\\| +\`${symbol}\` +\\| +([\\d,.]+)`).exec(page)?.[1]?.replaceAll(',', ''))
  for (const [symbol, figure] of [
    ['e', FIGURES.postgresEventUs],
    ['s', FIGURES.postgresStatementUs],
    ['m', FIGURES.instanceStatementUs],
    ['d', FIGURES.instanceEventUs],
    ['c', FIGURES.commitsPerSecond],
    ['wal', FIGURES.walBytes],
    ['log', FIGURES.logBytes],
    ['k', FIGURES.connectionBytes / 1000],
  ] as const) {
    const ratio = figure / measured(symbol)
    expect(ratio, symbol).toBeGreaterThan(0.7)
    expect(ratio, symbol).toBeLessThan(2)
  }
})

describe('docs/sizing.md', () => {
  const page = readFileSync('docs/sizing.md', 'utf8')
  const examples = [...page.matchAll(/^```\n\$ glimpse (.*)\n([\s\S]*?)^```$/gm)]

  it('has examples', () => expect(examples.length).toBeGreaterThan(1))

  it.each(
    examples.map(([, command = '', output = '']) => [command, output]),
  )('shows what glimpse %s prints', async (command, output) => {
    expect(await glimpseHere(command.split(' '))).toEqual({ code: 0, stdout: output, stderr: '' })
    const { stdout } = await glimpseHere([...command.split(' '), '--json'])
    expect(JSON.parse(stdout)).toHaveProperty('postgres.maxConnections')
  })

  it('has the formulae with the figures that are used', () => {
    for (const figure of [
      `max_connections = ${connectionsOfInstance()} ×`,
      `at most ${connectionsOfInstance()} connections`,
      `${FIGURES.processBytes / 1e6} MB + streams each × ${FIGURES.connectionBytes / 1000} kB`,
      `statements a second × ${FIGURES.instanceStatementUs} µs`,
      `× ${FIGURES.instanceEventUs} µs`,
      `events × ${FIGURES.postgresEventUs} µs + statements × (${FIGURES.postgresStatementUs} µs + (carrying − 1) × ${FIGURES.wakeUpUs} µs)`,
      `| WAL | ${FIGURES.walBytes} MB |`,
      `| ${FIGURES.logBytes} MB |`,
      `| ${FIGURES.viewBytes} MB |`,
    ])
      expect(page).toContain(figure)
  })
})
