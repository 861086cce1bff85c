/** The same fault is logged at most so often within {@link WINDOW_MS}. */
const MOST = 10
const WINDOW_MS = 1000
/** Kinds of faults that are counted at a time. Beyond it they share one count. */
const MOST_KINDS = 200

interface Window {
  count: number
  /** Writes a line: the fault itself, or that it came so many times more. */
  write: (repeated: number | undefined) => void
}

/**
 * Keeps one fault from filling the log: ten lines of a kind within a second go through, and at the second's end one more
 * says how many were left out. Without it a bug in a busy route writes a line a request, and the disk is full by morning.
 */
export class Repetitions {
  readonly #windows = new Map<string, Window>()

  /**
   * @param kind what counts as the same fault
   * @param write writes the line; or, at the second's end and with their number, one line for those that were left out
   */
  pass(kind: string, write: (repeated: number | undefined) => void): void {
    const key = this.#windows.has(kind) || this.#windows.size < MOST_KINDS ? kind : ''
    const window = this.#windows.get(key) ?? this.#begin(key, write)
    window.count++
    window.write = write
    if (window.count <= MOST) write(undefined)
  }

  #begin(key: string, write: Window['write']): Window {
    const window = { count: 0, write }
    this.#windows.set(key, window)
    const timer = setTimeout(() => {
      this.#windows.delete(key)
      if (window.count > MOST) window.write(window.count - MOST)
    }, WINDOW_MS)
    // A process that is done must not wait for it.
    timer.unref()
    return window
  }
}
