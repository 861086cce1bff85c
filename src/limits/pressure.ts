import { getHeapSpaceStatistics, getHeapStatistics } from 'node:v8'
import { GlimpseError } from '../errors.ts'
import type { Logger } from '../observability/log.ts'

export interface PressureOptions {
  /** How late, on average, the event loop may run what is due, ms. */
  readonly maxDelayMs: number
  /** The part of V8's heap limit past which no new streams are taken. */
  readonly maxHeapShare: number
  readonly log: Logger
  readonly onRefused: (limit: 'event_loop_delay' | 'heap') => void
  /** The part of V8's heap limit that is used. */
  readonly heapShare?: () => number
}

const TICK_MS = 100
/** A lone pause, such as a garbage collection, moves the average by this part of its length. */
const WEIGHT = 0.2
/** V8's figures are read once in so many ticks. */
const HEAP_TICKS = 5
/** A bound that was met must be left by so much, lest every tick change the answer. */
const CALM = 0.9

/**
 * What an instance may take on, by what its machine has left: an event loop that is late serves those it has, and a heap
 * that is nearly full keeps its streams. Past V8's limit the process would end, and with it every stream.
 */
export class Pressure {
  readonly #options: PressureOptions
  readonly #heapShare: () => number
  #delayMs = 0
  #late = false
  #full = false
  #ticks = 0
  #timer: NodeJS.Timeout | undefined

  constructor(options: PressureOptions) {
    this.#options = options
    this.#heapShare = options.heapShare ?? heapShare
  }

  start(): void {
    let dueAt = performance.now() + TICK_MS
    this.#timer = setInterval(() => {
      const now = performance.now()
      this.tick(Math.max(0, now - dueAt))
      dueAt = now + TICK_MS
    }, TICK_MS).unref()
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  /** @param lateMs how late the event loop came to this tick */
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

/** What V8 keeps for new objects beside the limit that `--max-old-space-size` sets, and counts into its own. */
const YOUNG_BYTES = 3 * 16_777_216

/** Of old objects alone: it is for want of room for them that the process would end. */
function heapShare(): number {
  const young = getHeapSpaceStatistics().filter(({ space_name }) => space_name.startsWith('new_'))
  const { used_heap_size, heap_size_limit } = getHeapStatistics()
  const used = young.reduce((left, { space_used_size }) => left - space_used_size, used_heap_size)
  return used / Math.max(heap_size_limit - YOUNG_BYTES, 1)
}
