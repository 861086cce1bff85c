import { setTimeout as sleep } from 'node:timers/promises'

/** Undoes a step of the start within the given time, ms. */
export type Undo = (leftMs: number) => unknown

/** Share of the remaining time for one step, so that a hanging step leaves time for the others. */
const SHARE = 0.5

/** Undoes the steps of a start in reverse order. Each has bounded time, and a failing step does not stop the others. */
export class UndoStack {
  readonly #steps: (readonly [what: string, undo: Undo])[] = []
  readonly #onFailed: (what: string, error: unknown) => void

  /** @param onFailed called for a step that threw or did not end in time */
  constructor(onFailed: (what: string, error: unknown) => void) {
    this.#onFailed = onFailed
  }

  push(what: string, undo: Undo): void {
    this.#steps.push([what, undo])
  }

  /** Undoes all steps that are not undone yet. Never rejects. */
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

/** Waits for a promise, at most this long. */
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
