import { connectionsOfInstance, HEADROOM } from '../../src/cli/sizing.ts'
import { FIGURES, type Figures, figuresOf } from '../model/figures.ts'
import { simulateStorm } from '../model/storm.ts'
import { instancesFor, listeningCores, mostEvents, strain } from '../model/system.ts'
import { BUSES, type BusName } from '../scale.ts'
import { linePlot, type Series } from './plot.ts'
import type { Results } from './results.ts'
import { spread } from './statistics.ts'
import { type Column, numberText, type Table, tableOf, toMarkdown } from './table.ts'

/** The tables of docs/scaling.md, by the names of their markers. */
const PASSAGES: Readonly<Record<string, (figures: Figures) => Table>> = {
  figures: figuresTable,
  'commit-rate': commitTable,
  'wake-ups': wakeUpTable,
  pays: paysTable,
  'pays-from': paysFromTable,
  memory: memoryTable,
  storms: stormTable,
  sizes: sizesTable,
}

/** The generated passages of docs/scaling.md. */
export function scalingPassages(results: Results): Readonly<Record<string, string>> {
  const figures = figuresOf(results)
  const passages = Object.entries(PASSAGES).map(([name, table]) => [name, toMarkdown(table(figures))])
  return Object.fromEntries(passages)
}

function figuresTable(figures: Figures): Table {
  const measured = (key: keyof Figures) => {
    const [, , unit, digits] = FIGURES[key]
    return numberText(figures[key] * (key === 'idleCores' ? 100 : 1), digits, ` ${unit}`)
  }
  return tableOf(Object.keys(FIGURES) as (keyof Figures)[], [
    ['what', (key) => FIGURES[key][1]],
    ['', (key) => `\`${FIGURES[key][0]}\``],
    ['measured', measured],
  ])
}

function commitTable(figures: Figures): Table {
  const { postgresEventUs, postgresStatementUs, commitsPerSecond, walBytes } = figures
  const limit = (batch: number, cores: number) => {
    const perCore = (HEADROOM * 1e6) / (postgresEventUs + postgresStatementUs / batch)
    return Math.min(perCore * cores, commitsPerSecond * batch)
  }
  const byCores = [2, 8, 32].map(
    (cores): Column<number> => [`${cores} cores`, (batch) => `${numberText(limit(batch, cores))}/s`],
  )
  return tableOf(
    [1, 10, 100, 500],
    [
      ['events in a statement', (batch) => numberText(batch)],
      ...byCores,
      ['commits/s at 8 cores', (batch) => numberText(limit(batch, 8) / batch)],
      ['WAL at 8 cores', (batch) => numberText((limit(batch, 8) * walBytes) / 1e6, 1, ' MB/s')],
    ],
  )
}

const MANY = [1, 4, 16, 64, 256, 1000]

function wakeUpTable(figures: Figures): Table {
  const eventsPerSecond = 10_000
  const load = { users: 0, connectionsPerUser: 1, eventsPerSecond }
  const by = (bus: BusName, instances: number) => strain(figures, instances, { ...load, bus })
  return tableOf(MANY, [
    [`instances, at ${numberText(eventsPerSecond)} events/s`, (instances) => numberText(instances)],
    ['statements/s', (instances) => numberText(by('LISTEN', instances).statements)],
    ...BUSES.flatMap((bus): Column<number>[] => [
      [`${bus}: Postgres cores`, (instances) => numberText(by(bus, instances).postgresBusy, 2)],
      ['core of each instance', (instances) => numberText(by(bus, instances).instanceBusy, 2)],
    ]),
    ['relay', (instances) => numberText(by('NATS', instances).relayBusy, 2)],
    ['NATS servers', (instances) => numberText(by('NATS', instances).natsBusy, 2)],
    ['database connections', (instances) => numberText(instances * connectionsOfInstance())],
  ])
}

type Cores = ReturnType<typeof listeningCores>
const sumOf = (cores: Cores) => Object.values(cores).reduce((sum, one) => sum + one)
const total = (figures: Figures, bus: BusName, instances: number, statements: number, rows: number) =>
  sumOf(listeningCores(figures, bus, { instances, statements, rows }))

/** From when on NATS pays, by what it saves. */
function paysTable(figures: Figures): Table {
  const columns = [2, 4, 8, 16, 64].map((instances): Column<number> => {
    const cores = (statements: number) =>
      BUSES.map((bus) => numberText(total(figures, bus, instances, statements, 1), 2)).join(' → ')
    return [`${instances} instances`, cores]
  })
  const title = 'cores for listening, LISTEN → NATS'
  const rates = [30, 100, 300, 1000, 3000]
  return tableOf(rates, [[title, (statements) => `${numberText(statements)} statements/s`], ...columns])
}

/** The number of instances from which NATS costs less altogether; it does not depend on the rate. */
function paysFromTable(figures: Figures): Table {
  const from = (rows: number) => {
    for (let instances = 1; instances <= 1000; instances++)
      if (total(figures, 'NATS', instances, 1, rows) < total(figures, 'LISTEN', instances, 1, rows))
        return instances
    return Number.NaN
  }
  return tableOf(
    [1, 5, 20, 100],
    [
      ['rows in a statement', (rows) => numberText(rows)],
      ['NATS uses less CPU from', (rows) => `${numberText(from(rows))} instances`],
      ['Postgres saves a core from, instances × statements/s', () => numberText(1e6 / figures.wakeUpUs)],
    ],
  )
}

/** Cores for listening from one instance to a thousand. */
export function scalingPlot(results: Results): string {
  const figures = figuresOf(results)
  const load = { statements: 1000, rows: 5 }
  const series = BUSES.flatMap((bus): Series[] => {
    const line = (what: string, dashed: boolean, coresOf: (cores: Cores) => number): Series => {
      const points = MANY.map((x) => ({
        x,
        y: spread([coresOf(listeningCores(figures, bus, { ...load, instances: x }))]),
      }))
      return { name: `${bus}, ${what}`, tone: bus === 'LISTEN' ? 'own' : 'peer', dashed, points }
    }
    return [line('altogether', false, sumOf), line('of Postgres', true, ({ postgres }) => postgres)]
  })
  return linePlot({
    title: 'What listening costs, from one instance to a thousand',
    subtitle: 'Computed for 1,000 statements a second of 5 rows each',
    x: { label: 'instances on one database', scale: 'steps' },
    y: { label: 'cores', scale: 'log' },
    series,
  })
}

function memoryTable({ connectionKb, logBytes }: Figures): Table {
  const memory = (connections: number) => numberText((connections * connectionKb) / 1000, 0, ' MB')
  const log = (connections: number) => numberText((connections * 1440 * logBytes) / 1e9, 1, ' GB')
  return tableOf(
    [10_000, 50_000, 200_000],
    [
      ['connections on one instance', (connections) => numberText(connections)],
      ['memory for them', memory],
      ['log of a day at one event a minute and connection', log],
    ],
  )
}

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

function stormTable(figures: Figures): Table {
  const storms = STORMS.map(([clients, instances, spreadSeconds]) => {
    const capacity = resumesPerSecond(figures, instances, Number.POSITIVE_INFINITY)
    const crowd = { clients, spreadSeconds, capacity, ...PATIENCE }
    return { ...crowd, instances, ...simulateStorm(crowd) }
  })
  return tableOf(storms, [
    ['clients', ({ clients }) => numberText(clients)],
    ['instances', ({ instances }) => numberText(instances)],
    ['first attempts spread over', ({ spreadSeconds }) => numberText(spreadSeconds, 0, ' s')],
    ['taken back a second', ({ capacity }) => numberText(capacity)],
    [
      'all back after',
      ({ seconds }) => (seconds === Number.POSITIVE_INFINITY ? 'never' : numberText(seconds, 1, ' s')),
    ],
    ['attempts a client', ({ attempts }) => numberText(attempts, 1)],
    ['longest queue', ({ longestQueue }) => numberText(longestQueue)],
  ])
}

/** Clients taken back a second: each instance with one core, and Postgres with its cores, at full strain. */
function resumesPerSecond(figures: Figures, instances: number, postgresCores: number): number {
  return Math.min((instances * 1e6) / figures.resumeUs, (postgresCores * 1e6) / figures.resumePostgresUs)
}

const EVENTS_PER_USER = 1 / 60
const POSTGRES_CORES = 16

function sizesTable(figures: Figures): Table {
  const sizes = [1e4, 1e5, 1e6, 1e7, 1e8].flatMap((users) => BUSES.map((bus) => sizeOf(figures, users, bus)))
  return tableOf(sizes, [
    ['connected users', ({ users }) => numberText(users)],
    ['events/s', ({ rate }) => numberText(rate)],
    ['bus', ({ bus }) => bus],
    ['databases', ({ databases }) => numberText(databases)],
    ['instances on each', ({ instances }) => numberText(instances)],
    ['instances in all', ({ instances, databases }) => numberText(instances * databases)],
    [`Postgres cores busy of ${POSTGRES_CORES}`, ({ postgresBusy }) => numberText(postgresBusy, 1)],
    ['core of an instance', ({ instanceBusy }) => numberText(instanceBusy, 2)],
    ['core of the relay', ({ bus, relayBusy }) => (bus === 'NATS' ? numberText(relayBusy, 2) : '')],
    ['memory of an instance', ({ instanceMb }) => numberText(instanceMb, 0, ' MB')],
    [
      'log a day, each',
      ({ rate, databases }) => numberText(((rate / databases) * 86_400 * figures.logBytes) / 1e9, 0, ' GB'),
    ],
    ['everybody back after', ({ seconds }) => numberText(seconds, 0, ' s')],
  ])
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
  return { users, rate, bus, databases, instances, seconds, ...strain(figures, instances, load) }
}
