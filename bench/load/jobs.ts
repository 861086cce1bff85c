import { setImmediate, setTimeout } from 'node:timers/promises'

/** What a load generator does, by name; job and result travel as JSON. */
export type Jobs = Readonly<Record<string, (job: never) => unknown>>

export type Reply = { readonly result: unknown } | { readonly fault: string }

/** The load generator's half of harness/worker.ts: answers each `{name, job}`, and ends when the orchestrator does. */
export function answerJobs<Own extends Jobs>(jobs: Own): Own {
  const reply = (answer: Reply) => process.send?.(answer)
  process.on('message', async ({ name, job }: { readonly name: string; readonly job: unknown }) => {
    try {
      reply({ result: await jobs[name]?.(job as never) })
    } catch (error) {
      reply({ fault: (error as Error).message })
    }
  })
  process.on('disconnect', () => process.exit())
  // It may have ended while this file was being loaded, and nobody would say so again.
  if (!process.connected) process.exit()
  return jobs
}

/**
 * Milliseconds with a fraction on the machine's monotonic clock, which all its processes share: the latency of an
 * event that one process sends and another receives is a difference of two of these. The wall clock may be set
 * meanwhile.
 */
export function nowMs(): number {
  return Number(process.hrtime.bigint()) / 1e6
}

/** From now on: cores this process keeps busy; 1 means that JavaScript had no time left, so the generator was the limit. */
export function coresMeter(): () => number {
  const [cpu, at] = [process.cpuUsage(), performance.now()]
  return () => {
    const { user, system } = process.cpuUsage(cpu)
    return (user + system) / 1000 / (performance.now() - at)
  }
}

const SHARES = {
  p50Ms: 0.5,
  p75Ms: 0.75,
  p90Ms: 0.9,
  p95Ms: 0.95,
  p99Ms: 0.99,
  p999Ms: 0.999,
  maxMs: 1,
} as const

/** What a round's latencies are reduced to, under the names that they have in the results. */
export type Percentiles = Readonly<Record<keyof typeof SHARES, number>>

/** Nearest rank; sorts in place. NaN where there is nothing. */
export function percentilesOf(values: number[]): Percentiles {
  values.sort((a, b) => a - b)
  const at = (share: number) => values[Math.ceil(values.length * share) - 1] ?? Number.NaN
  return Object.fromEntries(Object.entries(SHARES).map(([name, share]) => [name, at(share)])) as Percentiles
}

/** The nth of all viewers × stories: neighbours differ in both, and each comes up once before any comes again. */
export function pairOf(nth: number, viewers: number, stories: readonly string[]) {
  const viewer = nth % viewers
  return { viewer, story: stories[(Math.floor(nth / viewers) + viewer) % stories.length] as string }
}

/** Rows of an INSERT where it goes as fast as it can, and INSERTs a second where it is paced. */
export const ROWS_PER_INSERT = 500
export const INSERTS_PER_SECOND = 200
export const INSERTS_IN_FLIGHT = 2

const TICK_MS = 5

/**
 * For `ms`, calls `send` with how many events are due at `rate` a second, or, without one, with as many as go at once;
 * in between, the sockets get their turn.
 */
export async function inPace(
  { ms, rate, atOnce }: { readonly ms: number; readonly rate?: number | undefined; readonly atOnce: number },
  send: (count: number) => unknown,
): Promise<void> {
  const startedAt = nowMs()
  let sent = 0
  for (let elapsedMs = 0; elapsedMs < ms; elapsedMs = nowMs() - startedAt) {
    const due = rate === undefined ? atOnce : Math.floor((elapsedMs * rate) / 1000) - sent
    const count = Math.min(due, atOnce)
    sent += count
    await (count > 0 ? send(count) : setTimeout(TICK_MS))
    await setImmediate()
  }
}
