import { CONNECTIONS } from '../../src/postgres/database.ts'
import { type Figures, figuresOf } from '../model/figures.ts'
import { simulateStorm } from '../model/storm.ts'
import { HEADROOM, instancesFor, mostEvents, strain } from '../model/system.ts'
import type { Results } from './results.ts'
import { numberText, type Table, toMarkdown } from './table.ts'

/** The generated passages of docs/scaling.md, by the names of their markers. */
export function scalingPassages(results: Results): Readonly<Record<string, string>> {
  const figures = figuresOf(results)
  const tables: Readonly<Record<string, Table>> = {
    figures: figuresTable(figures),
    'commit-rate': commitTable(figures),
    'wake-ups': wakeUpTable(figures),
    memory: memoryTable(figures),
    storms: stormTable(figures),
    sizes: sizesTable(figures),
  }
  return Object.fromEntries(Object.entries(tables).map(([name, table]) => [name, toMarkdown(table)]))
}

/** A dash where the results lack what the figure follows from. */
const text = (value: number | undefined, digits = 0) => numberText(value ?? Number.NaN, digits)

function figuresTable(figures: Figures): Table {
  const row = (symbol: string, what: string, value: number, unit: string, digits: number) => [
    what,
    `\`${symbol}\``,
    Number.isFinite(value) ? `${text(value, digits)} ${unit}` : '–',
  ]
  return {
    columns: ['what', '', 'measured'],
    rows: [
      row('e', 'Postgres, for each event', figures.postgresEventUs, 'µs', 1),
      row('s', 'Postgres, for each statement with its commit', figures.postgresStatementUs, 'µs', 0),
      row('w', 'Postgres, for each statement and further instance that listens', figures.wakeUpUs, 'µs', 1),
      row('m', 'an instance, for each statement it hears of', figures.messageUs, 'µs', 0),
      row('d', 'an instance, for each event it delivers', figures.ownEventUs, 'µs', 1),
      row('h', 'an instance, for each event it only hears', figures.foreignEventUs, 'µs', 1),
      row('i', 'an instance, while nothing happens', figures.idleCores * 100, '% of a core', 1),
      row('t', 'commit with NOTIFY to its arrival, nothing else going on', figures.commitMs, 'ms', 2),
      row('c', 'commits a second that NOTIFY, a row each', figures.commitsPerSecond, '/s', 0),
      row('wal', 'WAL for each event', figures.walBytes, 'bytes', 0),
      row('log', 'the log on disk with its index, for each event', figures.logBytes, 'bytes', 0),
      row('k', 'memory of an instance for each connection', figures.connectionKb, 'kB', 1),
      row('r', 'an instance, for each client that resumes', figures.resumeUs, 'µs', 0),
      row('q', 'Postgres, for each client that resumes', figures.resumePostgresUs, 'µs', 0),
    ],
  }
}

const CORES = [2, 8, 32]

function commitTable(figures: Figures): Table {
  const perCore = (batch: number) =>
    (HEADROOM * 1e6) / (figures.postgresEventUs + figures.postgresStatementUs / batch)
  return {
    columns: [
      'events in a statement',
      ...CORES.map((cores) => `${cores} cores`),
      'commits/s at 8 cores',
      'WAL at 8 cores',
    ],
    rows: [1, 10, 100, 500].map((batch) => {
      const limit = (cores: number) => Math.min(perCore(batch) * cores, figures.commitsPerSecond * batch)
      return [
        text(batch),
        ...CORES.map((cores) => `${text(limit(cores))}/s`),
        text(limit(8) / batch),
        `${text((limit(8) * figures.walBytes) / 1e6, 1)} MB/s`,
      ]
    }),
  }
}

function wakeUpTable(figures: Figures): Table {
  const rate = 10_000
  return {
    columns: [
      `instances, at ${numberText(rate)} events/s`,
      'statements/s',
      'Postgres cores',
      'of them wake-ups',
      'core of each instance',
      'of it to listen',
      'database connections',
    ],
    rows: [1, 4, 16, 64].map((instances) => {
      const load = { users: 0, connectionsPerUser: 1, eventsPerSecond: rate }
      const { statements, postgresBusy, instanceBusy } = strain(figures, instances, load)
      const wakeUps = (statements * (instances - 1) * figures.wakeUpUs) / 1e6
      const listening = statements * figures.messageUs + rate * (1 - 1 / instances) * figures.foreignEventUs
      return [
        text(instances),
        text(statements),
        text(postgresBusy, 2),
        text(wakeUps, 2),
        text(instanceBusy, 2),
        text(listening / 1e6, 2),
        text(instances * CONNECTIONS_PER_INSTANCE),
      ]
    }),
  }
}

/** Pools and LISTEN of one instance, at most. */
const CONNECTIONS_PER_INSTANCE = Object.values(CONNECTIONS).reduce((sum, count) => sum + count, 0)

function memoryTable(figures: Figures): Table {
  return {
    columns: [
      'connections on one instance',
      'memory for them',
      'log of a day at one event a minute and connection',
    ],
    rows: [10_000, 50_000, 200_000].map((connections) => [
      text(connections),
      `${text((connections * figures.connectionKb) / 1000)} MB`,
      `${text((connections * 1440 * figures.logBytes) / 1e9, 1)} GB`,
    ]),
  }
}

const PATIENCE = { patienceSeconds: 30, backoffSeconds: 1, maxBackoffSeconds: 30 }

function stormTable(figures: Figures): Table {
  const cases = [
    [5000, 1, 0],
    [50_000, 1, 0],
    [50_000, 1, 30],
    [50_000, 4, 0],
    [500_000, 10, 0],
    [500_000, 10, 30],
    [500_000, 40, 0],
  ] as const
  return {
    columns: [
      'clients',
      'instances',
      'first attempts spread over',
      'taken back a second',
      'all back after',
      'attempts a client',
      'longest queue',
    ],
    rows: cases.map(([clients, instances, spreadSeconds]) => {
      const capacity = resumesPerSecond(figures, instances, Number.POSITIVE_INFINITY)
      if (!Number.isFinite(capacity))
        return [text(clients), text(instances), `${spreadSeconds} s`, '–', '–', '–', '–']
      const storm = simulateStorm({ clients, spreadSeconds, capacity, ...PATIENCE })
      return [
        text(clients),
        text(instances),
        `${spreadSeconds} s`,
        text(capacity),
        Number.isFinite(storm.seconds) ? `${text(storm.seconds, 1)} s` : 'never',
        text(storm.attempts, 1),
        text(storm.longestQueue),
      ]
    }),
  }
}

/** Clients taken back a second: each instance with one core, and Postgres with its cores, at full strain. */
function resumesPerSecond(figures: Figures, instances: number, postgresCores: number): number {
  return Math.min((instances * 1e6) / figures.resumeUs, (postgresCores * 1e6) / figures.resumePostgresUs)
}

const EVENTS_PER_USER = 1 / 60
const POSTGRES_CORES = 16

function sizesTable(figures: Figures): Table {
  return {
    columns: [
      'connected users',
      'events/s',
      'databases',
      'instances on each',
      'instances in all',
      `Postgres cores busy of ${POSTGRES_CORES}`,
      'core of an instance',
      'memory of an instance',
      'log a day, each',
      'everybody back after',
    ],
    rows: [1e4, 1e5, 1e6, 1e7, 1e8].map((users) => sizeRow(figures, users)),
  }
}

/** Databases, each with its own users and instances, as few as carry the load. */
function sizeRow(figures: Figures, users: number): string[] {
  const rate = users * EVENTS_PER_USER
  const most = mostEvents(figures, POSTGRES_CORES, { users: 0, connectionsPerUser: 1 })
  for (
    let databases = Math.max(1, Math.ceil(rate / most));
    databases < 10_000;
    databases = Math.ceil(databases * 1.1)
  ) {
    const load = { users: users / databases, connectionsPerUser: 1, eventsPerSecond: rate / databases }
    const instances = instancesFor(figures, POSTGRES_CORES, load)
    if (instances === undefined) continue
    const { postgresBusy, instanceBusy, instanceMb } = strain(figures, instances, load)
    const capacity = resumesPerSecond(figures, instances, POSTGRES_CORES)
    const storm = simulateStorm({ clients: load.users, spreadSeconds: 30, capacity, ...PATIENCE })
    return [
      text(users),
      text(rate),
      text(databases),
      text(instances),
      text(instances * databases),
      text(postgresBusy, 1),
      text(instanceBusy, 2),
      `${text(instanceMb)} MB`,
      `${text((load.eventsPerSecond * 86_400 * figures.logBytes) / 1e9)} GB`,
      `${text(storm.seconds, 0)} s`,
    ]
  }
  return [text(users), text(rate), ...Array.from({ length: 8 }, () => '–')]
}
