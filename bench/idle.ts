import { type Contender, startGlimpse, startPeer } from './harness/contenders.ts'
import { alternate } from './harness/rounds.ts'
import { Subscribers } from './harness/subscribers.ts'
import { usageOf } from './harness/usage.ts'
import { sleep } from './load/jobs.ts'
import type { Options } from './options.ts'
import type { Figures, Trial } from './report/results.ts'
import type { PartRunner, Run } from './run.ts'

export const IDLE = 'idle'
export const GLIMPSE_SSE = 'Glimpse SSE'
export const GLIMPSE_WS = 'Glimpse WebSocket'
export const BARE_HTTP = 'bare http'
export const BARE_WS = 'bare ws'

interface Lane {
  readonly name: string
  readonly protocol: 'sse' | 'ws'
  readonly identity: 'token' | 'user'
  start(): Promise<Contender>
}

/** After this long the server has had its turn to collect what the opening left. */
export const SETTLE_MS = 1500
export const levelsOf = ({ quick }: Options) => (quick ? [1000, 2000] : [1000, 5000, 10_000])
const CONTENDERS = 4
const CLIENT_PROCESSES = 2
/** Opening 10,000 connections takes seconds a time, and memory spreads less than time does. */
const MAX_ROUNDS = 2
/** Planned for one measurement. */
const SECONDS = 12

/** What connections cost that nothing happens on. */
export const idle: PartRunner = {
  seconds: ({ rounds }) => Math.min(rounds, MAX_ROUNDS) * CONTENDERS * SECONDS,
  measure: async (run) => {
    const glimpse = () => startGlimpse(run.cluster, run.options.profile)
    const lanes: Lane[] = [
      { name: GLIMPSE_SSE, protocol: 'sse', identity: 'token', start: glimpse },
      { name: BARE_HTTP, protocol: 'sse', identity: 'user', start: () => startPeer(BARE_HTTP, 'bare-sse') },
      { name: GLIMPSE_WS, protocol: 'ws', identity: 'token', start: glimpse },
      { name: BARE_WS, protocol: 'ws', identity: 'user', start: () => startPeer(BARE_WS, 'bare-ws') },
    ]
    const plan = {
      scenario: IDLE,
      level: 0,
      rounds: Math.min(run.options.rounds, MAX_ROUNDS),
      title: 'idle',
      seconds: SECONDS,
      progress: run.progress,
    }
    // One measurement gives all levels, so it runs once and is then dealt out.
    const whole = await alternate(lanes, plan, (lane) => measure(lane, run))
    return {
      trials: levelsOf(run.options).flatMap((level) => whole.map((trial) => atLevel(trial, level))),
      absent: [],
    }
  },
}

function atLevel(trial: Trial, level: number): Trial {
  const rounds = trial.rounds.map(
    (round) =>
      round && {
        kbPerConnection: round[`kb${level}`] as number,
        connectionsPerSecond: round[`perSecond${level}`] as number,
      },
  )
  return { ...trial, level, rounds }
}

/** In a fresh process each time: memory that a round before left behind would be given to this one's connections. */
async function measure({ start, protocol, identity }: Lane, { options }: Run): Promise<Figures> {
  const { server } = await start()
  const subscribers = new Subscribers(CLIENT_PROCESSES)
  const rss = () => usageOf(server.pid)?.rssBytes ?? Number.NaN
  const figures: Record<string, number> = {}
  try {
    await sleep(SETTLE_MS)
    const before = rss()
    let open = 0
    for (const level of levelsOf(options)) {
      const users = Array.from({ length: level - open }, (_, i) => `user_${open + i}`)
      figures[`perSecond${level}`] = await subscribers.open({ url: server.url, protocol, identity, users })
      open = level
      await sleep(SETTLE_MS)
      figures[`kb${level}`] = (rss() - before) / 1000 / level
    }
    const { lost } = await subscribers.count()
    if (lost > 0) throw new Error(`${lost} of ${open} connections ended while idle`)
    return figures
  } finally {
    subscribers.stop()
    await server.stop()
  }
}
