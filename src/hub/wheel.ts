/** Something that is woken at a time, and then says when next. */
export interface Sleeper {
  /** When it will be woken (the wheel's clock, ms); undefined if it has no alarm. Only the wheel sets it. */
  dueAt: number | undefined
  /** @returns when to wake it again (the wheel's clock, ms); undefined: never */
  wake(now: number): number | undefined
}

/**
 * One timer for all connections (a hashed timing wheel): ten thousand heartbeats, expiries and stalls cost one
 * interval instead of thirty thousand timers. A sleeper has one alarm and is woken at most one tick late. Without alarms
 * the wheel stands still, so that an instance without connections sleeps.
 */
export class TimerWheel {
  readonly #slots: Set<Sleeper>[]
  readonly #tickMs: number
  readonly #now: () => number
  #tick: number
  #size = 0
  #started = false
  #timer: NodeJS.Timeout | undefined

  constructor({ tickMs, slots, now }: { tickMs: number; slots: number; now: () => number }) {
    this.#tickMs = tickMs
    this.#now = now
    this.#slots = Array.from({ length: slots }, () => new Set())
    this.#tick = Math.floor(now() / tickMs)
  }

  get size(): number {
    return this.#size
  }

  start(): void {
    this.#started = true
    if (this.#size > 0) this.#turn()
  }

  stop(): void {
    this.#started = false
    this.#pause()
  }

  /** Sets the sleeper's alarm; it replaces an earlier one. */
  set(sleeper: Sleeper, dueAt: number): void {
    this.delete(sleeper)
    if (this.#started) this.#turn()
    sleeper.dueAt = dueAt
    this.#slotOf(dueAt).add(sleeper)
    this.#size++
  }

  delete(sleeper: Sleeper): void {
    const { dueAt } = sleeper
    if (dueAt === undefined) return
    sleeper.dueAt = undefined
    this.#slotOf(dueAt).delete(sleeper)
    this.#size--
  }

  /** Wakes all that are due. After a long pause (a suspended laptop) each slot is looked at once, not once per tick. */
  advance(): void {
    const now = this.#now()
    const current = Math.floor(now / this.#tickMs)
    const from = Math.max(this.#tick, current - this.#slots.length + 1)
    for (let tick = from; tick <= current; tick++) {
      for (const sleeper of [...(this.#slots[tick % this.#slots.length] ?? [])]) {
        if ((sleeper.dueAt ?? Infinity) > now) continue
        this.delete(sleeper)
        const next = sleeper.wake(now)
        if (next !== undefined) this.set(sleeper, next)
      }
    }
    this.#tick = current
    if (this.#size === 0) this.#pause()
  }

  #turn(): void {
    if (this.#timer !== undefined) return
    // The slots of the time in which it stood still are empty.
    if (this.#size === 0) this.#tick = Math.floor(this.#now() / this.#tickMs)
    this.#timer = setInterval(() => this.advance(), this.#tickMs).unref()
  }

  #pause(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  #slotOf(dueAt: number): Set<Sleeper> {
    // An alarm that is overdue goes into the slot that the next advance looks at first.
    const tick = Math.max(Math.floor(dueAt / this.#tickMs), this.#tick)
    const slot = this.#slots[tick % this.#slots.length]
    if (slot === undefined) throw new Error('a wheel has at least one slot')
    return slot
  }
}
