import { pause } from '../limits/pause.ts'
import type { Logger } from '../observability/log.ts'
import type { Metrics } from '../observability/metrics.ts'
import type { Pool } from '../postgres/pool.ts'

export interface EventQueueOptions {
  /** Its own: events would wait behind other statements. */
  readonly sql: Pool
  readonly log: Logger
  readonly metrics: Metrics
  readonly now?: () => number
}

/** Some ten milliseconds' work, for which the streams of its users are locked. */
const PORTION = 500
/** Between two looks while events come: whoever enqueues then wakes nobody. */
const POLL_MS = 20
/** Between two looks at a queue that is idle, where no notification comes. */
const IDLE_MS = 1000
/** As long as another instance moves events. */
const BUSY_MS = 1000
/** Before a stream that somebody held is tried again. */
const HELD_MS = 250
const RETRY_MS = 500
const MAX_RETRY_MS = 10_000

interface Moved {
  /** null where another session is at it. */
  readonly moved: number | null
  readonly held: readonly string[]
  readonly fault: string | null
  readonly idle: boolean
}

/**
 * Moves what glimpse.enqueue() has queued into the log (migrations/0010). One instance at a time does:
 *
 * ```
 *   idle ── called, or a second ──▶ moving ── nothing left ──▶ looking every 20 ms ── a second without events ──▶ idle
 *                                     └── another instance is at it ──▶ a second's pause ──▶ moving
 * ```
 *
 * Nothing is lost where all of them pause: an instance pauses only while another one moves, and that one is called too for
 * what it did not see yet.
 */
export class EventQueue {
  readonly #options: EventQueueOptions
  readonly #now: () => number
  readonly #stopping = new AbortController()
  /** Users whose streams somebody held, and until when they are passed over. */
  readonly #held = new Map<string, number>()
  #called = false
  #wake = () => {}
  #faultTold = false
  #running: Promise<void> | undefined

  constructor(options: EventQueueOptions) {
    this.#options = options
    this.#now = options.now ?? (() => performance.now())
  }

  start(): void {
    this.#running ??= this.#run()
  }

  /** Somebody has enqueued events. */
  called(): void {
    this.#called = true
    this.#wake()
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    this.#wake()
    await this.#running
  }

  async #run(): Promise<void> {
    for (let failures = 0; !this.#stopping.signal.aborted; ) {
      this.#called = false
      try {
        const turn = await this.#move()
        failures = 0
        if (turn.moved === null) await pause(BUSY_MS, this.#stopping.signal, false)
        else if (turn.moved === 0 && turn.held.length === 0) await this.#rest(turn.idle)
      } catch (error) {
        // The database is away, or busy: the events wait in the queue.
        this.#options.log.debug({ err: error }, 'queued events could not be moved; the next turn tries again')
        await pause(Math.min(RETRY_MS * 2 ** failures++, MAX_RETRY_MS), this.#stopping.signal, false)
      }
    }
  }

  async #move(): Promise<Moved> {
    const { sql, log, metrics } = this.#options
    for (const [user, until] of this.#held) if (until <= this.#now()) this.#held.delete(user)
    const [turn] = await sql<Moved[]>`
      select moved, array_to_json(held) as held, fault, idle from glimpse.move_queue(${[...this.#held.keys()]}, ${PORTION})`
    if (turn === undefined) throw new Error('no answer')
    metrics.queueMoved.inc(turn.moved ?? 0)
    for (const user of turn.held) this.#held.set(user, this.#now() + HELD_MS)
    if (turn.fault !== null && !this.#faultTold)
      log.error({ code: turn.fault }, 'queued events of a user cannot be logged; they wait')
    if (turn.fault !== null) this.#faultTold = true
    else if (this.#held.size === 0) this.#faultTold = false
    return turn
  }

  /** Until somebody may have enqueued something, or a held stream be free. */
  async #rest(idle: boolean): Promise<void> {
    if (!idle) return pause(POLL_MS, this.#stopping.signal, false)
    const free = Math.min(IDLE_MS, ...[...this.#held.values()].map((until) => until - this.#now()))
    await new Promise<void>((resolve) => {
      if (this.#called || this.#stopping.signal.aborted) return resolve()
      const timer = setTimeout(resolve, Math.max(free, POLL_MS)).unref()
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }
}
