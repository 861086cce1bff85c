import type { GlimpseEvent } from '../event.ts'

/** The loop left an event unfinished. */
export const ABANDONED = Symbol('abandoned')

type Outcome = typeof ABANDONED | undefined

/** Hands events to a loop, one at a time: an event is handled when the loop asks for the next. */
export class Handoff {
  #offered: { readonly event: GlimpseEvent; readonly settle: (outcome?: Outcome) => void } | undefined
  looping = false
  #closed = false
  #wake = () => {}

  /** Resolves when the loop has handled the event, or will not. */
  offer(event: GlimpseEvent): Promise<Outcome> {
    if (this.#closed) return Promise.resolve(ABANDONED)
    return new Promise((resolve) => {
      const settle = (outcome?: Outcome) => {
        this.#offered = undefined
        resolve(outcome)
      }
      this.#offered = { event, settle }
      this.#wake()
    })
  }

  /** There will be no loop: the event that waits for one goes to the handlers. */
  release(): void {
    this.#offered?.settle()
  }

  /** Abandons the current event and every later one. */
  close(): void {
    this.#closed = true
    this.#offered?.settle(ABANDONED)
  }

  /** The events for one loop, until `done` settles; it ends, or fails, as `done` does. */
  async *events(done: Promise<void>): AsyncGenerator<GlimpseEvent, void, void> {
    this.looping = true
    let ended = false
    const end = () => {
      ended = true
      this.#wake()
    }
    done.then(end, end)
    for (;;) {
      const offered = this.#offered
      if (offered !== undefined) {
        yield offered.event
        offered.settle()
      } else if (ended) return await done
      else
        await new Promise<void>((resolve) => {
          this.#wake = resolve
        })
    }
  }
}
