/** Nearest-rank percentile; sorts in place. NaN where there is nothing. */
export function percentile(values: number[] | Float64Array, share: number): number {
  values.sort((a, b) => a - b)
  return values[Math.min(values.length - 1, Math.ceil(values.length * share) - 1)] ?? Number.NaN
}

/** What a run's latencies are reduced to, in the unit they come in. */
export interface Percentiles {
  readonly p50: number
  readonly p75: number
  readonly p90: number
  readonly p95: number
  readonly p99: number
  readonly p999: number
  readonly max: number
}

export function percentilesOf(values: number[] | Float64Array): Percentiles {
  const at = (share: number) => percentile(values, share)
  return {
    p50: at(0.5),
    p75: at(0.75),
    p90: at(0.9),
    p95: at(0.95),
    p99: at(0.99),
    p999: at(0.999),
    max: at(1),
  }
}

/** As figures of a round, from latencies in milliseconds. */
export function inMilliseconds({ p50, p75, p90, p95, p99, p999, max }: Percentiles) {
  return { p50Ms: p50, p75Ms: p75, p90Ms: p90, p95Ms: p95, p99Ms: p99, p999Ms: p999, maxMs: max }
}
