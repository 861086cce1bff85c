import { setTimeout as sleep } from 'node:timers/promises'

/** Undoes a step of the start, waiting for others no longer than this. */
export type Undo = (leftMs: number) => unknown

/** Of what is left of the time, a step may take this part: one that hangs leaves some for those after it. */
const SHARE = 0.5

/** Steps of a start, undone in reverse: each in bounded time, and all of them, whatever becomes of the others. */
export class UndoStack {
  readonly #steps: (readonly [what: string, undo: Undo])[] = []
  readonly #onFailed: (what: string, error: unknown) => void

  /** @param onFailed hears of a step that threw, or did not end in its time */
  constructor(onFailed: (what: string, error: unknown) => void) {
    this.#onFailed = onFailed
  }

  push(what: string, undo: Undo): void {
    this.#steps.push([what, undo])
  }

  /** Undoes what was begun and not undone yet. Never rejects. */
  async undo(withinMs: number): Promise<void> {
    const deadline = performance.now() + withinMs
    for (let step = this.#steps.pop(); step !== undefined; step = this.#steps.pop()) {
      const [what, undo] = step
      const leftMs = Math.max(0, (deadline - performance.now()) * (this.#steps.length === 0 ? 1 : SHARE))
      try {
        await within(leftMs, (async () => undo(leftMs))(), () =>
          this.#onFailed(what, new Error('not in time')),
        )
      } catch (error) {
        this.#onFailed(what, error)
      }
    }
  }
}

/** Waits for something, but not longer than this. */
export async function within(
  milliseconds: number,
  something: Promise<unknown>,
  late: () => void = () => {},
): Promise<void> {
  const timer = new AbortController()
  const expired = sleep(milliseconds, undefined, { ref: false, signal: timer.signal }).then(late, () => {})
  try {
    await Promise.race([something, expired])
  } finally {
    timer.abort()
  }
}
