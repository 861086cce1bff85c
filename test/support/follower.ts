import { onTestFinished } from 'vitest'
import WebSocket from 'ws'
import {
  type ConnectOptions,
  connect,
  type Gap,
  type Reset,
  type State,
  type Stream,
} from '../../src/client/index.ts'
import type { GlimpseEvent } from '../../src/event.ts'

const PATIENCE_MS = 25_000

/** Times that fit a test. */
export const QUICK = {
  openTimeoutMs: 1000,
  backoffMs: 50,
  backoffMaxMs: 400,
  pollIntervalMs: 50,
  upgradeMs: 60_000,
  refusedMs: 400,
}

/** Somebody who uses the client and writes down all it says. */
export class Follower {
  readonly stream: Stream
  readonly events: GlimpseEvent[] = []
  readonly states: State[] = []
  readonly resets: Reset[] = []
  readonly gaps: Gap[] = []
  readonly unread: number[] = []
  #changed = () => {}

  constructor(options: ConnectOptions) {
    const note =
      <Item>(list: Item[]) =>
      (item: Item) => {
        list.push(item)
        this.#changed()
      }
    this.stream = connect({
      timing: QUICK,
      WebSocket,
      onReset: note(this.resets),
      onGap: note(this.gaps),
      onState: note(this.states),
      onUnread: note(this.unread),
      ...options,
      onEvent: async (event) => {
        await options.onEvent?.(event)
        note(this.events)(event)
      },
    })
  }

  /** Follows until the end of the test. */
  static open(options: ConnectOptions): Follower {
    const follower = new Follower(options)
    onTestFinished(async () => {
      follower.stream.close()
      await follower.stream.done.catch(() => {})
    })
    return follower
  }

  get seqs(): number[] {
    return this.events.map(({ seq }) => seq)
  }

  /** The transports it was live on, in order. */
  get transports(): string[] {
    return this.states.flatMap((state) => (state.name === 'live' ? [state.transport] : []))
  }

  /** Resolves once the condition holds; fails with all that was seen where it does not in time. */
  async until(condition: () => boolean): Promise<void> {
    const deadline = Date.now() + PATIENCE_MS
    while (!condition()) {
      if (Date.now() > deadline)
        throw new Error(`in vain: ${condition}\n${JSON.stringify({ seqs: this.seqs, states: this.states })}`)
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 200)
        this.#changed = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
  }

  /** Until it is live, for the `times`th time. */
  live(times = 1): Promise<void> {
    return this.until(() => this.transports.length >= times)
  }

  async hears(count: number): Promise<void> {
    await this.until(() => this.events.length >= count)
  }
}
