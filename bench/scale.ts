import { startGlimpse, startInstance, stopAll } from './harness/contenders.ts'
import { type Feed, INSERTS_PER_SECOND, sqlFeed } from './harness/feeds.ts'
import { alternate } from './harness/rounds.ts'
import type { Server } from './harness/server.ts'
import { Subscribers } from './harness/subscribers.ts'
import { usageOf } from './harness/usage.ts'
import { nowMs } from './load/clock.ts'
import { sleep } from './load/jobs.ts'
import type { Options } from './options.ts'
import type { Figures, Trial } from './report/results.ts'
import type { PartRunner, Run } from './run.ts'

export const SCALE = 'cost'
export const INSTANCES = [1, 2, 4] as const
export const clusterName = (instances: number) => (instances === 1 ? '1 instance' : `${instances} instances`)
export const RATE = 2000
export const ROWS_PER_STATEMENT = RATE / INSERTS_PER_SECOND

/** Instances on one database, with users connected to them in turn. */
interface Group {
  readonly name: string
  readonly servers: readonly { readonly server: Server }[]
  readonly feed: Feed
  readonly subscribers: Subscribers[]
}

const levelsOf = ({ quick }: Options) => (quick ? [100, 1000] : [100, 1000, 10_000])
const warmUpMs = ({ quick }: Options) => (quick ? 500 : WARM_UP_MS)
const CLIENT_PROCESSES = 2
const QUIET_MS = 10_000
/** Long enough for a sweep and a canary or two of every instance. */
const IDLE_MS = 4000
const WARM_UP_MS = 5000
/** Planned, for one measurement, for starting all, and how fast connections open. */
const SECONDS = 2.5
const START_SECONDS = 10
const CONNECTIONS_PER_SECOND = 2500

/** What an event costs as the crowd and the number of instances grow, at one steady rate. */
export const scale: PartRunner = {
  seconds: (options) => {
    const levels = levelsOf(options)
    const connecting = (INSTANCES.length * Math.max(...levels)) / CONNECTIONS_PER_SECOND
    const quiet = (levels.length * IDLE_MS + INSTANCES.length * warmUpMs(options)) / 1000
    return START_SECONDS + connecting + quiet + levels.length * INSTANCES.length * options.rounds * SECONDS
  },
  measure: async (run) => {
    const levels = levelsOf(run.options)
    const users = Array.from({ length: Math.max(...levels) }, (_, n) => `user_${n}`)
    const groups: Group[] = []
    run.progress.step('scale: starting', START_SECONDS)
    try {
      for (const instances of INSTANCES) groups.push(await startGroup(run, instances, users))
      const trials: Trial[] = []
      let connected = 0
      for (const level of levels) {
        for (const group of groups) {
          const seconds = (level - connected) / CONNECTIONS_PER_SECOND
          run.progress.step(`scale: ${level} users of ${group.name}`, seconds)
          await connect(group, users.slice(connected, level), connected)
          if (connected === 0) await warmUp(run, group, level)
        }
        connected = level
        run.progress.step(`scale: ${level} users, idle`, IDLE_MS / 1000)
        const idle = await idleCores(run, groups)
        const plan = {
          scenario: SCALE,
          level,
          rounds: run.options.rounds,
          title: `scale: ${level} users`,
          seconds: SECONDS,
          progress: run.progress,
        }
        trials.push(...(await alternate(groups, plan, (group) => measure(run, group, level, idle))))
      }
      return { trials, absent: [] }
    } finally {
      for (const { feed, subscribers, servers } of groups) {
        feed.stop()
        for (const own of subscribers) own.stop()
        await stopAll(servers)
      }
    }
  },
}

async function startGroup(
  { cluster, options }: Run,
  instances: number,
  users: readonly string[],
): Promise<Group> {
  const first = await startGlimpse(cluster, options.profile, `bench_scale_${instances}`)
  const servers: { server: Server }[] = [first]
  while (servers.length < instances)
    servers.push({ server: await startInstance(first.databaseUrl, options.profile) })
  return {
    name: clusterName(instances),
    servers,
    feed: await sqlFeed(first.databaseUrl, users),
    subscribers: servers.map(() => new Subscribers(CLIENT_PROCESSES)),
  }
}

async function connect(
  { servers, subscribers }: Group,
  users: readonly string[],
  from: number,
): Promise<void> {
  for (const [i, { server }] of servers.entries()) {
    const own = users.filter((_, n) => (from + n) % servers.length === i)
    await subscribers[i]?.open({ url: server.url, protocol: 'sse', identity: 'token', users: own })
  }
}

/**
 * A process that has just started pays two to three times as much for an event, until its code is compiled. Of four
 * instances each is told of a quarter of the events: they get four times as many, so that all are as far.
 */
async function warmUp({ options }: Run, { subscribers, feed, servers }: Group, users: number): Promise<void> {
  await Promise.all(subscribers.map((own) => own.reset(true)))
  const { events } = await feed.run({ ms: warmUpMs(options), users, rate: RATE * servers.length })
  await receivedBy(subscribers, events)
}

/** CPU milliseconds so far of a group's instances, and of Postgres. */
function cpuOf({ cluster }: Run, { servers }: Group): { readonly own: number; readonly postgres: number } {
  const own = servers.reduce((sum, { server }) => sum + (usageOf(server.pid)?.cpuMs ?? Number.NaN), 0)
  return { own, postgres: cluster.cpuMs() ?? Number.NaN }
}

interface Idle {
  /** Cores that a group's instances use while nothing happens: canaries, sweeps, heartbeats. */
  readonly of: ReadonlyMap<Group, number>
  /** The same of Postgres, for all groups: all stay connected throughout. */
  readonly postgres: number
}

async function idleCores(run: Run, groups: readonly Group[]): Promise<Idle> {
  const read = () => groups.map((group) => cpuOf(run, group))
  const [before, startedAt] = [read(), nowMs()]
  await sleep(run.options.quick ? 1000 : IDLE_MS)
  const [after, elapsedMs] = [read(), nowMs() - startedAt]
  const cores = (i: number, kind: 'own' | 'postgres') =>
    ((after[i]?.[kind] ?? Number.NaN) - (before[i]?.[kind] ?? Number.NaN)) / elapsedMs
  return { of: new Map(groups.map((group, i) => [group, cores(i, 'own')])), postgres: cores(0, 'postgres') }
}

async function measure(run: Run, group: Group, users: number, idle: Idle): Promise<Figures> {
  const { subscribers, feed, servers } = group
  await Promise.all(subscribers.map((own) => own.reset(true)))
  const [before, startedAt] = [cpuOf(run, group), nowMs()]
  const { events } = await feed.run({ ms: run.options.quick ? 1000 : 2000, users, rate: RATE })
  const received = await receivedBy(subscribers, events)
  const [after, elapsedMs] = [cpuOf(run, group), nowMs() - startedAt]
  if (received !== events) throw new Error(`${received} of ${events} events came`)
  const latencies = await Promise.all(subscribers.map((own) => own.latencies()))
  const idleOwn = idle.of.get(group) ?? Number.NaN
  return {
    serverUs: ((after.own - before.own - idleOwn * elapsedMs) * 1000) / events,
    postgresUs: ((after.postgres - before.postgres - idle.postgres * elapsedMs) * 1000) / events,
    idleCores: idleOwn / servers.length,
    p50Ms: Math.max(...latencies.map(({ p50 }) => p50)),
    p99Ms: Math.max(...latencies.map(({ p99 }) => p99)),
  }
}

/** Which instance's users an event goes to is chance, so the groups are counted together. */
async function receivedBy(subscribers: readonly Subscribers[], events: number): Promise<number> {
  for (let before = -1, quietSince = performance.now(); ; ) {
    const counts = await Promise.all(subscribers.map((own) => own.count()))
    const now = counts.reduce((sum, count) => sum + count.events, 0)
    if (now !== before) quietSince = performance.now()
    before = now
    if (now >= events || performance.now() - quietSince > QUIET_MS) return now
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
