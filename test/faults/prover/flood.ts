import { setTimeout as sleep } from 'node:timers/promises'
import type postgres from 'postgres'

/** Just under what NOTIFY carries, so that these events are pushed like all others. */
const PADDING_BYTES = 3000
const TICK_MS = 100

/** The most that one of these events takes on the wire, framed. */
export const FLOOD_EVENT_BYTES = PADDING_BYTES + 400

/** Fills the streams of some users with large events at a steady rate, so that whoever reads slowly falls behind. */
export class Flood {
  /** Events a second, over all users; may be changed on the way. */
  perSecond: number
  readonly #sql: postgres.Sql
  readonly #users: readonly string[]
  readonly #loop: Promise<void>
  #running = true

  constructor(sql: postgres.Sql, users: readonly string[], perSecond: number) {
    this.#sql = sql
    this.#users = users
    this.perSecond = perSecond
    this.#loop = this.#run()
    // Whoever stops it hears of a failure.
    this.#loop.catch(() => {})
  }

  async stop(): Promise<void> {
    this.#running = false
    await this.#loop
  }

  async #run(): Promise<void> {
    let sent = 0
    let due = 0
    for (let at = performance.now(); this.#running; await sleep(TICK_MS)) {
      const now = performance.now()
      due += ((now - at) * this.perSecond) / 1000
      at = now
      const users: string[] = []
      for (; sent < Math.floor(due); sent++) users.push(this.#users[sent % this.#users.length] ?? '')
      if (users.length > 0) await this.#append(users)
    }
  }

  async #append(users: string[]): Promise<void> {
    await this.#sql`
      select glimpse.append(variadic array_agg(
        (u, 'test.flood', json_build_object('padding', repeat('x', ${PADDING_BYTES})), now())::glimpse.new_event))
        from unnest(${users}::text[]) u`
  }
}
