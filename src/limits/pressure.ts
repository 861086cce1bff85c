import { getHeapSpaceStatistics, getHeapStatistics } from 'node:v8'
import { GlimpseError } from '../errors.ts'
import type { Logger } from '../observability/log.ts'

export interface PressureOptions {
  /** The highest accepted average delay of the event loop, ms. */
  readonly maxDelayMs: number
  /** Share of V8's heap limit, 0 to 1; above it new streams are refused. */
  readonly maxHeapShare: number
  readonly log: Logger
  readonly onRefused: (limit: 'event_loop_delay' | 'heap') => void
  /** Share of V8's heap limit in use, 0 to 1. */
  readonly heapShare?: () => number
}

/** Weight of one tick in the average: a single pause, such as a garbage collection, moves it by this share of its length. */
const WEIGHT = 0.2
/** V8's heap statistics are read once in this many ticks. */
const HEAP_TICKS = 5
/** After a refusal the value must fall below this share of its bound, so that the answer does not change at every tick. */
const CALM = 0.9

/**
 * Decides what an instance still accepts. While the event loop is late it refuses new work; while the heap is nearly full
 * it refuses new streams. Past V8's heap limit the process would end, and with it every stream.
 */
export class Pressure {
  readonly #options: PressureOptions
  readonly #heapShare: () => number
  #delayMs = 0
  #late = false
  #full = false
  #ticks = 0

  constructor(options: PressureOptions) {
    this.#options = options
    this.#heapShare = options.heapShare ?? heapShare
  }

  /** Called ten times a second. @param lateMs how late the event loop is */
  tick(lateMs: number): void {
    const { maxDelayMs, maxHeapShare, log } = this.#options
    this.#delayMs += WEIGHT * (lateMs - this.#delayMs)
    if (this.#delayMs > maxDelayMs !== this.#late && (!this.#late || this.#delayMs < CALM * maxDelayMs)) {
      this.#late = !this.#late
      if (this.#late)
        log.warn({ delayMs: Math.round(this.#delayMs) }, 'the event loop is late: new work is refused')
      else log.info('the event loop keeps up again')
    }
    if (this.#ticks++ % HEAP_TICKS !== 0) return
    const share = this.#heapShare()
    if (share > maxHeapShare !== this.#full && (!this.#full || share < CALM * maxHeapShare)) {
      this.#full = !this.#full
      if (this.#full)
        log.warn({ percent: Math.round(share * 100) }, 'the heap is nearly full: new streams are refused')
      else log.info('the heap has room again')
    }
  }

  /** @throws GlimpseError `overloaded` while the event loop is late */
  admitWork(): void {
    if (!this.#late) return
    this.#options.onRefused('event_loop_delay')
    throw new GlimpseError('overloaded', { detail: 'This instance is busy; try again.', retryAfter: 1 })
  }

  /** @throws GlimpseError `full` while the heap is nearly full */
  admitStream(): void {
    if (!this.#full) return
    this.#options.onRefused('heap')
    throw new GlimpseError('full', { detail: 'This instance has no memory for more streams.', retryAfter: 5 })
  }
}

/** The young generation, which V8 counts into its heap limit on top of `--max-old-space-size`. */
const YOUNG_BYTES = 3 * 16_777_216

/** The share of old space alone: the process ends when old space is full. */
function heapShare(): number {
  const young = getHeapSpaceStatistics().filter(({ space_name }) => space_name.startsWith('new_'))
  const { used_heap_size, heap_size_limit } = getHeapStatistics()
  const used = young.reduce((left, { space_used_size }) => left - space_used_size, used_heap_size)
  return used / Math.max(heap_size_limit - YOUNG_BYTES, 1)
}
