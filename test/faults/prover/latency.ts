import type { Bench } from './bench.ts'
import type { Client } from './client.ts'
import { until } from './crowd.ts'

/** A span of time on performance.now(). */
export interface Span {
  readonly from: number
  readonly to: number
}

/** What became of the writes that were sent within a span; times in ms. */
export interface Writes {
  readonly count: number
  readonly refused: number
  readonly p50: number
  readonly p99: number
}

/** Runs `step` and says when that was. */
export async function spanOf(step: () => Promise<unknown>): Promise<Span> {
  const from = performance.now()
  await step()
  return { from, to: performance.now() }
}

/** From sending a write to its acknowledgement, for the authors named. Answers that are still due are waited for. */
export async function measureWrites(bench: Bench, span: Span, authors: ReadonlySet<string>): Promise<Writes> {
  const sent = bench.ledger.operations.filter(
    ({ author, sentAt }) => sentAt >= span.from && sentAt < span.to && authors.has(author),
  )
  await until(3000, () => sent.every(({ ackedAt }) => ackedAt !== undefined))
  const times = sent.flatMap(({ sentAt, ackedAt }) => (ackedAt === undefined ? [] : [ackedAt - sentAt]))
  return {
    count: sent.length,
    refused: sent.length - times.length,
    p50: quantile(times, 0.5),
    p99: quantile(times, 0.99),
  }
}

/**
 * From an event's own timestamp, the begin of the transaction that made it, to its receipt by each of the clients: the
 * p99 of what came within the span, ms. Polling clients are left out, for they come when they come.
 */
export function deliveryP99(bench: Bench, span: Span, clients: readonly Client[]): number {
  const times: number[] = []
  for (const { transport, author, entries } of clients) {
    if (transport === 'poll') continue
    for (const entry of entries) {
      if (entry.type !== 'event' || entry.at < span.from || entry.at >= span.to) continue
      const text = bench.crowd.texts.get(author, `${entry.epoch}.${entry.seq}`) ?? ''
      const [, timestamp] = /"timestamp":"([^"]+)"\}$/.exec(text) ?? []
      if (timestamp !== undefined)
        times.push(performance.timeOrigin + entry.at - new Date(timestamp).getTime())
    }
  }
  return quantile(times, 0.99)
}

export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0
}

/**
 * Below this, ms, what a p99 measures is the scheduler of a machine that runs Postgres, the instances, the clients and
 * other people's work at once.
 */
const NOISE_MS = 40

/** A p99 under a fault may be twice what it was without, in the same run. */
export function within2x(p99: number, baseline: number): boolean {
  return p99 <= Math.max(2 * baseline, NOISE_MS)
}
