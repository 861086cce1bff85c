/** The same problem is logged at most this often within {@link WINDOW_MS}. */
const MOST = 10
const WINDOW_MS = 1000
/** Kinds of problems that are counted at a time; further kinds share one count. */
const MOST_KINDS = 200

interface Window {
  count: number
  /** Writes a line: the problem itself, or how often it was repeated. */
  write: (repeated: number | undefined) => void
}

/**
 * Keeps one problem from filling the log: it lets ten lines of a kind pass within a second, and one more at the second's
 * end with the number of those left out. Without it a bug in a busy route writes one line per request and fills the disk.
 */
export class Repetitions {
  readonly #windows = new Map<string, Window>()

  /**
   * @param kind identifies the problem
   * @param write writes the line; at the second's end it is called with the number of lines that were left out
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
    // The timer must not keep the process alive.
    timer.unref()
    return window
  }
}
