import { setTimeout as sleep } from 'node:timers/promises'
import { scrape } from '../test/support/metrics.ts'
import { startNats } from './harness/brokers.ts'
import { sqlFeed, startEach, startGlimpse, startInstance, startRelay } from './harness/contenders.ts'
import { alternate, progress } from './harness/rounds.ts'
import type { Server } from './harness/server.ts'
import { Subscribers } from './harness/subscribers.ts'
import { cpuMsOf } from './harness/usage.ts'
import { nowMs } from './load/jobs.ts'
import { type BenchPart, type Claim, claimOf } from './report/part.ts'
import type { Figures, Trial } from './report/results.ts'
import { column, numberText, tableOf } from './report/table.ts'
import type { Run } from './run.ts'

export const COST = 'cost'
export const BUSES = ['LISTEN', 'NATS'] as const
export type BusName = (typeof BUSES)[number]
export const INSTANCES = [1, 4, 8, 16] as const
export const ROWS = [1, 5, 20] as const
/** Statements a second by their rows: as many as two cores carry with 16 instances that listen. */
const STATEMENTS: Readonly<Record<number, number>> = { 1: 1000, 5: 500, 20: 200 }
/** As many writers as keep that pace. */
const IN_FLIGHT = 8
export const clusterName = (bus: BusName, instances: number) =>
  `${bus}, ${instances} ${instances === 1 ? 'instance' : 'instances'}`

const USERS = Array.from({ length: 1000 }, (_, n) => `user_${n}`)
/** Long enough for a sweep and a canary or two of every instance. */
const IDLE_MS = 4000
/**
 * A process that has just started pays two to three times as much for an event, until its code is compiled. The more
 * instances, the fewer events each has, and the longer it takes.
 */
const warmUpMs = (instances: number) => 2000 + 600 * instances
/** One that only hears by LISTEN pauses a hundred times a second at most, so that its code is compiled later. */
const HEARING_WARM_UP_MS = 30_000
const FALLBACK_LIMIT_MS = 30_000

/** What an event costs by the number of instances, by the rows of a statement, and by how instances hear of it. */
async function* measure(run: Run): AsyncGenerator<Trial> {
  const { quick } = run.options
  const starts = BUSES.map((bus) => [bus, () => startGroup(run, bus)] as const)
  const groups = await startEach(run, Object.fromEntries(starts))
  for (const count of quick ? [1, 4] : INSTANCES) {
    for (const group of groups) await grow(run, group, count)
    progress.show(`${count} instances, idle`)
    const idled = groups.map(async (group) => {
      const busy = await busyMeter(run, group)
      await sleep(quick ? 1000 : IDLE_MS)
      return { ...group, name: clusterName(group.bus, count), idle: (await busy()).cores }
    })
    const contenders = await Promise.all(idled)
    for (const rows of quick ? [1, 20] : ROWS) {
      const plan = { scenario: COST, level: rows, seconds: 2.8 }
      yield* await alternate(run, plan, contenders, (group) => feedGroup(run, group, rows))
    }
  }
}

/** Instances on a database of their own that hear in one way, and what that way needs. */
type Group = Awaited<ReturnType<typeof startGroup>>

async function startGroup(run: Run, bus: BusName) {
  progress.show(bus)
  const nats = bus === 'NATS' ? await startNats(run) : undefined
  // Started first, the relay would be without tables to read; an instance makes them.
  const { databaseUrl } = await run.within((own) => startGlimpse(own, `bench_scale_${bus.toLowerCase()}`))
  const relay = nats && (await startRelay(run, databaseUrl, nats.url))
  const feed = await sqlFeed(run, databaseUrl, USERS)
  const instances: Server[] = []
  return { bus, databaseUrl, instances, nats, relay, feed, subscribers: new Subscribers(run) }
}

/**
 * Starts more instances. The first of several has no users: what it uses is the cost of hearing, and it has run for the
 * longest, so that its code is compiled.
 */
async function grow(run: Run, group: Group, count: number): Promise<void> {
  const { databaseUrl, instances, nats, feed } = group
  group.subscribers.stop()
  const firstHears = instances.length === 1 && count > 1 && nats === undefined && !run.options.quick
  const warmUp = firstHears
    ? { ms: HEARING_WARM_UP_MS, users: USERS.length, rows: 1, inFlight: IN_FLIGHT, durable: false }
    : { ms: warmUpMs(count), users: USERS.length, rows: 20 }
  progress.show(clusterName(group.bus, count))
  const env = nats && { BUS_URL: nats.url, BUS_RELAY: 'off' }
  const missing = Array.from({ length: count - instances.length })
  instances.push(...(await Promise.all(missing.map(() => startInstance(run, databaseUrl, env)))))
  if (nats !== undefined) await withoutFallback(instances)
  group.subscribers = new Subscribers(run)
  const hosts = count === 1 ? instances : instances.slice(1)
  for (const [i, { url }] of hosts.entries()) {
    const users = USERS.filter((_, n) => n % hosts.length === i)
    await group.subscribers.open({ url, protocol: 'sse', identity: 'token', users })
  }
  await group.subscribers.reset()
  const { events } = await feed(warmUp)
  await group.subscribers.received(events)
}

/** Resolves when no instance listens to Postgres for want of a relay. */
async function withoutFallback(instances: readonly Server[]): Promise<void> {
  for (const deadline = nowMs() + FALLBACK_LIMIT_MS; ; await sleep(100)) {
    const metrics = await Promise.all(instances.map(({ url }) => scrape(url)))
    if (metrics.every((samples) => samples.get('glimpse_bus_fallback') === 0)) return
    if (nowMs() > deadline) throw new Error('an instance still listens to Postgres instead of NATS')
  }
}

/** By who uses it, under the names that the figures have. */
type Cpu = Record<'listenUs' | 'relayUs' | 'natsUs' | 'instancesUs' | 'hearingUs' | 'postgresUs', number>

/** CPU so far, in milliseconds. */
async function cpuMs({ cluster }: Run, { databaseUrl, instances, relay, nats }: Group): Promise<Cpu> {
  const cpuOf = (...servers: (Server | undefined)[]) => cpuMsOf(...servers.flatMap((one) => one?.pid ?? []))
  return {
    listenUs: cpuMsOf(...(await cluster.listeners(databaseUrl))),
    relayUs: cpuOf(relay),
    natsUs: cpuOf(nats),
    instancesUs: cpuOf(...instances),
    hearingUs: instances.length > 1 ? cpuOf(instances[0]) : Number.NaN,
    postgresUs: cluster.cpuMs(),
  }
}

const eachOf = (make: (key: keyof Cpu) => number, cpu: Cpu) =>
  Object.fromEntries(Object.keys(cpu).map((key) => [key, make(key as keyof Cpu)])) as Cpu

/** From now on: the cores that each keeps busy, and for how long that was measured. */
async function busyMeter(run: Run, group: Group) {
  const [before, startedAt] = [await cpuMs(run, group), nowMs()]
  return async () => {
    const [after, elapsedMs] = [await cpuMs(run, group), nowMs() - startedAt]
    return { elapsedMs, cores: eachOf((key) => (after[key] - before[key]) / elapsedMs, after) }
  }
}

/** `idle`: cores that everybody uses while nothing happens: canaries, sweeps, heartbeats. */
async function feedGroup(run: Run, group: Group & { readonly idle: Cpu }, rows: number): Promise<Figures> {
  const { subscribers, feed, instances, idle } = group
  await subscribers.reset(true)
  const busy = await busyMeter(run, group)
  const pace = { rate: (STATEMENTS[rows] ?? 100) * rows, rows, inFlight: IN_FLIGHT, durable: false }
  const fed = await feed({ ms: run.options.quick ? 1000 : 2000, users: USERS.length, ...pace })
  const { events, backendMs = Number.NaN, insertMs = Number.NaN } = fed
  const received = await subscribers.received(events)
  const { cores, elapsedMs } = await busy()
  if (received.events !== events) throw new Error(`${received.events} of ${events} events came`)
  const { p50Ms, p99Ms } = await subscribers.latencies()
  const us = eachOf((key) => ((cores[key] - idle[key]) * elapsedMs * 1000) / events, cores)
  return {
    ...us,
    writerUs: (backendMs * 1000) / events,
    totalUs: us.listenUs + us.relayUs + us.natsUs + us.instancesUs,
    idleCores: idle.instancesUs / instances.length,
    statementsPerSecond: (events / rows / elapsedMs) * 1000,
    insertMs,
    p50Ms,
    p99Ms,
  }
}

const PACES = ROWS.map((rows) => `${numberText(STATEMENTS[rows] ?? 0)} a second of ${rows}`).join(', ')
const rowsText = (rows: number) => (rows === 1 ? '1 row' : `${rows} rows`)

const TONES = { 1: 'own', 5: 'own-2', 20: 'peer-2' } as const

export const scale: BenchPart = {
  measure,
  title: 'Number of instances, LISTEN and NATS',
  note: `INSERTs of so many rows each at a steady pace (${PACES}; a column has what was reached), each row for one of 1,000 connected users, who are spread over all instances but the first, which only hears (one instance has them all). The writers do not wait for the disk. NATS is one server, with \`glimpse relay\` in a process of its own, a linger of 10 ms and instances that can't become the relay. CPU by the kernel's count for each process, over what it uses while nothing happens. "Listening" is what listening costs altogether: Postgres' listening backends, the relay, the NATS server and the instances, without the backends that write. p50 and p99 are from sending the INSERT to the client's socket; of that, the INSERT itself takes what its column says.`,
  plots: (view) => [
    {
      file: 'scale.svg',
      alt: 'CPU of listening against the number of instances',
      title: 'What listening costs as instances are added',
      subtitle: 'CPU of listening backends, relay, NATS and instances',
      x: { label: 'instances', scale: 'steps' },
      y: { label: 'microseconds of CPU an event', scale: 'log' },
      series: BUSES.flatMap((bus) =>
        ROWS.map((rows) => {
          const cost = (instances: number) =>
            view.row(COST, rows, clusterName(bus, instances)).spread('totalUs')
          const points = INSTANCES.map((x) => ({ x, y: cost(x) }))
          return { name: `${bus}, ${rowsText(rows)}`, tone: TONES[rows], dashed: bus === 'NATS', points }
        }),
      ),
    },
  ],
  tables: (view) => {
    const columns = [
      column.name('µs of CPU an event'),
      ...column.medians(0, { 'writing backends': 'writerUs' }),
      ...column.medians(1, { 'listening backends': 'listenUs', relay: 'relayUs', 'NATS server': 'natsUs' }),
      ...column.medians(1, { instances: 'instancesUs' }),
      ...column.spreads(1, { listening: 'totalUs', 'an instance that only hears': 'hearingUs' }),
      ...column.medians(0, { 'statements/s': 'statementsPerSecond' }),
      ...column.medians(2, { 'INSERT p50 ms': 'insertMs' }),
      ...column.spreads(2, { 'p50 ms': 'p50Ms' }),
      ...column.spreads(1, { 'p99 ms': 'p99Ms' }),
    ]
    return view
      .levels(COST)
      .map((rows) => tableOf(view.rows(COST, [rows]), columns, `${rowsText(rows)} a statement`))
  },
  claims: (view) => {
    const most = Math.max(...INSTANCES)
    const grown = (what: string, figure: string, wantedRatio: number): Claim => ({
      what: `${what}, NATS, ${most} instances, 1 row a statement`,
      better: 'less',
      ratio: view.row(COST, 1, clusterName('NATS', most)).over(clusterName('NATS', 1), figure),
      peer: 'one instance',
      wantedRatio,
    })
    const what = 'CPU of an instance for an event it only hears, LISTEN, 8 instances, 1 row a statement'
    return [
      claimOf(view.row(COST, 1, clusterName('LISTEN', 8)), 'hearingUs', what, { wanted: 12 }),
      grown("CPU of Postgres' listening backends an event", 'listenUs', 1.2),
      grown('CPU of listening altogether an event', 'totalUs', 2),
    ]
  },
}
