import type { Made } from '../../bench/report/pages.ts'
import type { Plot } from '../../bench/report/plot.ts'
import type { Results } from '../../bench/report/results.ts'
import { spread } from '../../bench/report/statistics.ts'
import { type Column, numberText, type Table, tableOf, toMarkdown } from '../../bench/report/table.ts'
import { BUSES, type BusName } from '../../bench/scale.ts'
import { connectionsOfInstance, HEADROOM } from '../../src/cli/sizing.ts'
import { type Figures, figuresOf } from './figures.ts'
import { simulateStorm } from './storm.ts'
import { instancesFor, listeningCores, mostEvents, strain } from './system.ts'

/** A column of numbers with so many digits after the point. */
const figure = <T>(title: string, of: (about: T) => number, digits = 0, unit = ''): Column<T> => [
  title,
  (about) => numberText(of(about), digits, unit),
]
const itself = (title: string): Column<number> => figure(title, (number) => number)

type Cores = ReturnType<typeof listeningCores>
const sumOf = (cores: Cores) => Object.values(cores).reduce((sum, one) => sum + one)
const total = (figures: Figures, bus: BusName, instances: number, statements: number, rows: number) =>
  sumOf(listeningCores(figures, bus, { instances, statements, rows }))

const MANY = [1, 4, 16, 64, 256, 1000]
const BATCHES = [1, 10, 100, 500]
const STATEMENT_RATES = [30, 100, 300, 1000, 3000]
const STATEMENT_ROWS = [1, 5, 20, 100]
const CONNECTIONS = [10_000, 50_000, 200_000]
const USERS = [1e4, 1e5, 1e6, 1e7, 1e8]
/** Clients, instances, and over how many seconds the first attempts are spread. */
const STORMS = [
  [5000, 1, 0],
  [50_000, 1, 0],
  [50_000, 1, 30],
  [50_000, 4, 0],
  [500_000, 10, 0],
  [500_000, 10, 30],
  [500_000, 40, 0],
] as const
const PATIENCE = { patienceSeconds: 30, backoffSeconds: 1, maxBackoffSeconds: 30 }
const EVENTS_PER_USER = 1 / 60
const POSTGRES_CORES = 16

/** The tables of docs/scaling.md, by the names of their markers. */
const PASSAGES: Readonly<Record<string, (figures: Figures) => Table>> = {
  figures: ({ postgres, own, foreign, relay, nats, ownByNats, ...other }) => {
    const rows: readonly (readonly [
      symbol: string,
      what: string,
      value: number,
      digits: number,
      unit: string,
    ])[] = [
      ['e', 'Postgres, for each event', postgres.event, 1, 'µs'],
      ['s', 'Postgres, for each statement with its commit', postgres.statement, 0, 'µs'],
      ['w', 'Postgres, for each statement and further session that listens', other.wakeUpUs, 1, 'µs'],
      ['m', 'an instance, for each statement with an event for its users', own.statement, 0, 'µs'],
      ['d', 'an instance, for each event it delivers', own.event, 1, 'µs'],
      ['n', 'an instance, for each statement it only hears of', foreign.statement, 1, 'µs'],
      ['h', 'an instance, for each event it only hears', foreign.event, 1, 'µs'],
      ['rs', 'the relay, for each statement', relay.statement, 0, 'µs'],
      ['re', 'the relay, for each event', relay.event, 1, 'µs'],
      ['ns', 'the NATS server, for each statement', nats.statement, 0, 'µs'],
      ['ne', 'the NATS server, for each event', nats.event, 1, 'µs'],
      ['bs', 'instances with NATS, for each statement', ownByNats.statement, 0, 'µs'],
      ['be', 'instances with NATS, for each event', ownByNats.event, 1, 'µs'],
      ['i', 'an instance, while nothing happens', other.idleCores * 100, 1, '% of a core'],
      ['t', 'commit with NOTIFY to its arrival, nothing else going on', other.commitMs, 2, 'ms'],
      ['c', 'commits a second that NOTIFY, a row each', other.commitsPerSecond, 0, '/s'],
      ['wal', 'WAL for each event', other.walBytes, 0, 'bytes'],
      ['log', 'the log on disk with its index, for each event', other.logBytes, 0, 'bytes'],
      ['k', 'memory of an instance for each connection', other.connectionKb, 1, 'kB'],
      ['r', 'an instance, for each client that resumes', other.resumeUs, 0, 'µs'],
      ['q', 'Postgres, for each client that resumes', other.resumePostgresUs, 0, 'µs'],
    ]
    return tableOf(rows, [
      ['what', ([, what]) => what],
      ['', ([symbol]) => `\`${symbol}\``],
      ['measured', ([, , value, digits, unit]) => numberText(value, digits, ` ${unit}`)],
    ])
  },

  'commit-rate': ({ postgres, commitsPerSecond, walBytes }) => {
    const limit = (batch: number, cores: number) => {
      const perCore = (HEADROOM * 1e6) / (postgres.event + postgres.statement / batch)
      return Math.min(perCore * cores, commitsPerSecond * batch)
    }
    const atCores = (cores: number) =>
      figure<number>(`${cores} cores`, (batch) => limit(batch, cores), 0, '/s')
    return tableOf(BATCHES, [
      itself('events in a statement'),
      ...[2, 8, 32].map(atCores),
      figure('commits/s at 8 cores', (batch) => limit(batch, 8) / batch),
      figure('WAL at 8 cores', (batch) => (limit(batch, 8) * walBytes) / 1e6, 1, ' MB/s'),
    ])
  },

  'wake-ups': (figures) => {
    const load = { users: 0, connectionsPerUser: 1, eventsPerSecond: 10_000 }
    const by = (bus: BusName, instances: number) => strain(figures, instances, { ...load, bus })
    return tableOf(MANY, [
      itself(`instances, at ${numberText(load.eventsPerSecond)} events/s`),
      figure('statements/s', (instances) => by('LISTEN', instances).statements),
      ...BUSES.flatMap((bus) => [
        figure<number>(`${bus}: Postgres cores`, (instances) => by(bus, instances).postgresBusy, 2),
        figure<number>('core of each instance', (instances) => by(bus, instances).instanceBusy, 2),
      ]),
      figure('relay', (instances) => by('NATS', instances).relayBusy, 2),
      figure('NATS servers', (instances) => by('NATS', instances).natsBusy, 2),
      figure('database connections', (instances) => instances * connectionsOfInstance()),
    ])
  },

  /** From when on NATS pays, by what it saves. */
  pays: (figures) => {
    const saved = (instances: number): Column<number> => {
      const cores = (bus: BusName, rate: number) => numberText(total(figures, bus, instances, rate, 1), 2)
      return [`${instances} instances`, (rate) => BUSES.map((bus) => cores(bus, rate)).join(' → ')]
    }
    return tableOf(STATEMENT_RATES, [
      figure('cores for listening, LISTEN → NATS', (rate) => rate, 0, ' statements/s'),
      ...[2, 4, 8, 16, 64].map(saved),
    ])
  },

  /** The number of instances from which NATS costs less altogether; it does not depend on the rate. */
  'pays-from': (figures) => {
    const from = (rows: number) => {
      for (let instances = 1; instances <= 1000; instances++)
        if (total(figures, 'NATS', instances, 1, rows) < total(figures, 'LISTEN', instances, 1, rows))
          return instances
      return Number.NaN
    }
    return tableOf(STATEMENT_ROWS, [
      itself('rows in a statement'),
      ['NATS uses less CPU from', (rows) => `${numberText(from(rows))} instances`],
      figure('Postgres saves a core from, instances × statements/s', () => 1e6 / figures.wakeUpUs),
    ])
  },

  memory: ({ connectionKb, logBytes }) => {
    const dayGb = (connections: number) => (connections * 1440 * logBytes) / 1e9
    return tableOf(CONNECTIONS, [
      itself('connections on one instance'),
      figure('memory for them', (connections) => (connections * connectionKb) / 1000, 0, ' MB'),
      figure('log of a day at one event a minute and connection', dayGb, 1, ' GB'),
    ])
  },

  storms: (figures) => {
    const storms = STORMS.map(([clients, instances, spreadSeconds]) => {
      const capacity = resumesPerSecond(figures, instances, Number.POSITIVE_INFINITY)
      const crowd = { clients, spreadSeconds, capacity, ...PATIENCE }
      return { ...crowd, instances, ...simulateStorm(crowd) }
    })
    const after = (seconds: number) => (seconds === Infinity ? 'never' : numberText(seconds, 1, ' s'))
    return tableOf(storms, [
      figure('clients', ({ clients }) => clients),
      figure('instances', ({ instances }) => instances),
      figure('first attempts spread over', ({ spreadSeconds }) => spreadSeconds, 0, ' s'),
      figure('taken back a second', ({ capacity }) => capacity),
      ['all back after', ({ seconds }) => after(seconds)],
      figure('attempts a client', ({ attempts }) => attempts, 1),
      figure('longest queue', ({ longestQueue }) => longestQueue),
    ])
  },

  sizes: (figures) => {
    const sizes = USERS.flatMap((users) => BUSES.map((bus) => sizeOf(figures, users, bus)))
    return tableOf(sizes, [
      figure('connected users', ({ users }) => users),
      figure('events/s', ({ rate }) => rate),
      ['bus', ({ bus }) => bus],
      figure('databases', ({ databases }) => databases),
      figure('instances on each', ({ instances }) => instances),
      figure('instances in all', ({ instances, databases }) => instances * databases),
      figure(`Postgres cores busy of ${POSTGRES_CORES}`, ({ postgresBusy }) => postgresBusy, 1),
      figure('core of an instance', ({ instanceBusy }) => instanceBusy, 2),
      ['core of the relay', ({ bus, relayBusy }) => (bus === 'NATS' ? numberText(relayBusy, 2) : '')],
      figure('memory of an instance', ({ instanceMb }) => instanceMb, 0, ' MB'),
      figure('log a day, each', ({ dayGb }) => dayGb, 0, ' GB'),
      figure('everybody back after', ({ seconds }) => seconds, 0, ' s'),
    ])
  },
}

/** What docs/scaling.md has of the results: its generated passages and its plot. */
export function scaling(results: Results): Made {
  const figures = figuresOf(results)
  const tables = Object.entries(PASSAGES).map(([name, table]) => [name, toMarkdown(table(figures))])
  return { passages: { 'docs/scaling.md': Object.fromEntries(tables) }, plots: [scalingPlot(figures)] }
}

/** Cores for listening from one instance to a thousand. */
function scalingPlot(figures: Figures): Plot {
  const load = { statements: 1000, rows: 5 }
  const line = (bus: BusName, what: string, dashed: boolean, coresOf: (cores: Cores) => number) => {
    const cores = (instances: number) => coresOf(listeningCores(figures, bus, { ...load, instances }))
    const points = MANY.map((x) => ({ x, y: spread([cores(x)]) }))
    return { name: `${bus}, ${what}`, tone: bus === 'LISTEN' ? 'own' : 'peer', dashed, points } as const
  }
  return {
    file: 'scaling.svg',
    alt: 'What listening costs',
    title: 'What listening costs, from one instance to a thousand',
    subtitle: 'Computed for 1,000 statements a second of 5 rows each',
    x: { label: 'instances on one database', scale: 'steps' },
    y: { label: 'cores', scale: 'log' },
    series: BUSES.flatMap((bus) => [
      line(bus, 'altogether', false, sumOf),
      line(bus, 'of Postgres', true, ({ postgres }) => postgres),
    ]),
  }
}

/** Clients taken back a second: each instance with one core, and Postgres with its cores, at full strain. */
function resumesPerSecond(figures: Figures, instances: number, postgresCores: number): number {
  return Math.min((instances * 1e6) / figures.resumeUs, (postgresCores * 1e6) / figures.resumePostgresUs)
}

/** Databases, each with its own users and instances, as few as carry the load; NaN where no number does. */
function sizeOf(figures: Figures, users: number, bus: BusName) {
  const rate = users * EVENTS_PER_USER
  const shared = (databases: number) =>
    ({ users: users / databases, connectionsPerUser: 1, eventsPerSecond: rate / databases, bus }) as const
  const carrying = (databases: number) => instancesFor(figures, POSTGRES_CORES, shared(databases))
  const most = mostEvents(figures, POSTGRES_CORES, { users: 0, connectionsPerUser: 1, bus })
  let databases = Math.max(1, Math.ceil(rate / most))
  while (databases < 10_000 && carrying(databases) === undefined) databases = Math.ceil(databases * 1.1)
  const instances = carrying(databases) ?? Number.NaN
  if (Number.isNaN(instances)) databases = Number.NaN
  const load = shared(databases)
  const capacity = resumesPerSecond(figures, instances, POSTGRES_CORES)
  const { seconds } = simulateStorm({ clients: load.users, spreadSeconds: 30, capacity, ...PATIENCE })
  const dayGb = (load.eventsPerSecond * 86_400 * figures.logBytes) / 1e9
  return { users, rate, bus, databases, instances, seconds, dayGb, ...strain(figures, instances, load) }
}
