import { createHistogram } from 'node:perf_hooks'
import { collectDefaultMetrics, Gauge, type Registry } from 'prom-client'

/** Each tick wakes an idle process. */
export const TICK_MS = 100
/** Of a pause, more ticks than these are not counted: a process may have been stopped for a night. */
const MOST_MISSED = 600
/** prom-client's own monitor must never tick: its hundred wake-ups a second were two thirds of an idle instance's CPU. */
const NEVER_MS = 2 ** 31 - 1
const MICROSECONDS = 1e6
/** A longer pause counts as this long: the histogram would leave it out. */
const LONGEST_MS = 3_600_000

const GAUGES = {
  '': 'How late the event loop was at the last tick; there are ten a second.',
  min_: 'Least delay of the event loop since the last scrape.',
  max_: 'Greatest delay of the event loop since the last scrape; up to 0.1 s less than its longest turn.',
  mean_: 'Mean delay of the event loop since the last scrape.',
  stddev_: 'Standard deviation of the delay of the event loop since the last scrape.',
  p50_: 'Half of all that came since the last scrape waited less than this for the event loop.',
  p90_: '90 % of all that came since the last scrape waited less than this for the event loop.',
  p99_: '99 % of all that came since the last scrape waited less than this for the event loop.',
} as const

/**
 * The one monitor of the event loop's delay, for metrics and for shedding load. A timer is due ten times a second, and is as
 * late as anything that comes at that moment. Ticks that a long turn left out are counted too, each with what it would have
 * waited: without them a turn of a second would be one value among ten.
 */
export class EventLoopDelay {
  readonly #histogram = createHistogram({ lowest: 1, highest: LONGEST_MS * 1000, figures: 3 })
  #lastMs = 0
  #timer: NodeJS.Timeout | undefined

  /** @param onTick called at each tick with its delay, ms */
  start(onTick: (lateMs: number) => void = () => {}): void {
    let dueAt = performance.now() + TICK_MS
    this.#timer = setInterval(() => {
      const now = performance.now()
      const lateMs = Math.max(0, now - dueAt)
      this.record(lateMs)
      onTick(lateMs)
      dueAt = now + TICK_MS
    }, TICK_MS).unref()
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  record(lateMs: number): void {
    this.#lastMs = lateMs
    const longest = Math.min(lateMs, LONGEST_MS)
    const least = Math.max(longest - MOST_MISSED * TICK_MS, 0)
    for (let waitMs = longest; waitMs >= least; waitMs -= TICK_MS)
      this.#histogram.record(Math.max(1, Math.round(waitMs * 1000)))
  }

  /** Registers `nodejs_eventloop_lag_…` and the library's other metrics of the process. */
  register(registry: Registry): void {
    collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: NEVER_MS })
    const gauges = new Map<keyof typeof GAUGES, Gauge>()
    const collect = () => {
      const { min, max, mean, stddev, count } = this.#histogram
      gauges.get('')?.set(this.#lastMs / 1000)
      if (count === 0) return
      const values = { min_: min, max_: max, mean_: mean, stddev_: stddev }
      for (const [of, value] of Object.entries(values))
        gauges.get(of as keyof typeof values)?.set(value / MICROSECONDS)
      for (const percent of [50, 90, 99] as const)
        gauges.get(`p${percent}_`)?.set(this.#histogram.percentile(percent) / MICROSECONDS)
      this.#histogram.reset()
    }
    for (const [of, help] of Object.entries(GAUGES) as [keyof typeof GAUGES, string][]) {
      const name = `nodejs_eventloop_lag_${of}seconds`
      registry.removeSingleMetric(name)
      // The first one is collected first, and sets all of them.
      gauges.set(of, new Gauge({ name, help, registers: [registry], ...(of === '' ? { collect } : {}) }))
    }
  }
}
