import { setTimeout as sleep } from 'node:timers/promises'
import { startGlimpse, startPeer } from './harness/contenders.ts'
import { alternate } from './harness/rounds.ts'
import { Subscribers } from './harness/subscribers.ts'
import { rssBytesOf } from './harness/usage.ts'
import { type BenchPart, claimOf } from './report/part.ts'
import { seriesOf } from './report/plot.ts'
import type { Figures, Trial } from './report/results.ts'
import { column, numberText, tableOf } from './report/table.ts'
import type { Options, Run } from './run.ts'

export const IDLE = 'idle'
export const GLIMPSE_SSE = 'Glimpse SSE'
export const GLIMPSE_WS = 'Glimpse WebSocket'
export const BARE_HTTP = 'bare http'
export const BARE_WS = 'bare ws'

/** Opening 10,000 connections takes seconds a time, and memory spreads less than time does. */
const mostRounds = 2
/** `peer`: of peers/streams.ts; absent: Glimpse. */
const LANES = [
  { name: GLIMPSE_SSE, protocol: 'sse', peer: undefined, mostRounds },
  { name: BARE_HTTP, protocol: 'sse', peer: 'bare-sse', mostRounds },
  { name: GLIMPSE_WS, protocol: 'ws', peer: undefined, mostRounds },
  { name: BARE_WS, protocol: 'ws', peer: 'bare-ws', mostRounds },
] as const

/** After this long the server has had its turn to collect what the opening left. */
const SETTLE_MS = 1500

const levelsOf = ({ quick }: Options) => (quick ? [1000, 2000] : [1000, 5000, 10_000])

/** What connections cost that nothing happens on. */
async function* measure(run: Run): AsyncGenerator<Trial> {
  const plan = { scenario: IDLE, level: 0, seconds: 12 }
  // One measurement gives all levels, so it runs once and is then dealt out.
  const whole = await alternate(run, plan, LANES, open)
  for (const [i, level] of levelsOf(run.options).entries())
    for (const trial of whole)
      yield { ...trial, level, rounds: trial.rounds.map((levels) => levels?.[i] ?? null) }
}

/**
 * Figures of each level. In a fresh process each time: memory that a round before left behind would be given to this
 * one's connections.
 */
async function open({ protocol, peer }: (typeof LANES)[number], run: Run): Promise<Figures[]> {
  const { url, pid } = await (peer === undefined ? startGlimpse(run) : startPeer(run, 'streams', peer))
  const identity = peer === undefined ? 'token' : 'user'
  const subscribers = new Subscribers(run)
  const figures: Figures[] = []
  await sleep(SETTLE_MS)
  const before = rssBytesOf(pid)
  let opened = 0
  for (const level of levelsOf(run.options)) {
    const users = Array.from({ length: level - opened }, (_, i) => `user_${opened + i}`)
    const connectionsPerSecond = await subscribers.open({ url, protocol, identity, users })
    opened = level
    await sleep(SETTLE_MS)
    figures.push({ kbPerConnection: (rssBytesOf(pid) - before) / 1000 / level, connectionsPerSecond })
  }
  const { lost } = await subscribers.count()
  if (lost > 0) throw new Error(`${lost} of ${opened} connections ended while idle`)
  return figures
}

const TONES = {
  [GLIMPSE_SSE]: 'own',
  [BARE_HTTP]: 'bound',
  [GLIMPSE_WS]: 'own-2',
  [BARE_WS]: 'quiet',
} as const
const BARE: Readonly<Record<string, string>> = { [GLIMPSE_SSE]: BARE_HTTP, [GLIMPSE_WS]: BARE_WS }
const ofBare = (figure: string) => column.times('of bare', figure, (name) => BARE[name])

export const idle: BenchPart = {
  measure,
  title: 'Idle connections',
  note: `Resident memory of the server process over what it was before the first connection, ${SETTLE_MS / 1000} s after the last one opened, one user each, a fresh process each round, no collection forced. Glimpse verifies each user's token and reads the head of their stream from Postgres; the bare servers accept anybody. Connections/s is that of the last step, to the first event-stream bytes, 64 opening at once.`,
  plots: (view) => [
    {
      file: 'memory.svg',
      alt: 'Memory against connections',
      title: 'Resident memory over the empty process',
      x: { label: 'open connections on which nothing happens', scale: 'value' },
      y: { label: 'MB', scale: 'value' },
      series: seriesOf(TONES, view.levels(IDLE), (name, level) =>
        view.row(IDLE, level, name).spread('kbPerConnection', level / 1000),
      ),
    },
  ],
  tables: (view) => [
    tableOf(view.rows(IDLE), [
      column.name(),
      column.level('connections'),
      ...column.spreads(1, { 'kB/connection': 'kbPerConnection' }),
      ofBare('kbPerConnection'),
      ...column.spreads(0, { 'connections/s': 'connectionsPerSecond' }),
      ofBare('connectionsPerSecond'),
    ]),
  ],
  claims: (view) => {
    const most = view.levels(IDLE).at(-1) ?? 10_000
    const wanted = [
      [GLIMPSE_SSE, BARE_HTTP, 0.6, 11],
      [GLIMPSE_WS, BARE_WS, 0.65, 8],
    ] as const
    return wanted.flatMap(([own, peer, wantedRatio, wantedKb]) => {
      const row = view.row(IDLE, most, own)
      const at = `${own.replace('Glimpse ', '')}, ${numberText(most)} open`
      const memory = { peer, wanted: wantedKb, headline: own === GLIMPSE_SSE }
      return [
        claimOf(row, 'connectionsPerSecond', `connections opened a second, ${at}`, { peer, wantedRatio }),
        claimOf(row, 'kbPerConnection', `memory a connection, ${at}`, memory),
      ]
    })
  },
  slower: (view) => {
    const most = view.levels(IDLE).at(-1) ?? 0
    const rate = (name: string) => view.row(IDLE, most, name).median('connectionsPerSecond')
    if (!(rate(GLIMPSE_SSE) < rate(BARE_HTTP))) return []
    return [
      `**New connections.** Up to ${numberText(most)} connections, Glimpse opens ${numberText(rate(GLIMPSE_SSE))} a second over SSE and a bare http server ${numberText(rate(BARE_HTTP))}, because Glimpse verifies each token and reads each user’s position.`,
    ]
  },
}
