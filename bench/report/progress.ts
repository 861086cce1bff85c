/** How far behind its plan a run may be before it leaves out rounds. */
const GRACE_SECONDS = 15

/**
 * One line on standard error that says how far the run is; where that is no terminal, a line a minute at most. Planned
 * seconds are its measure, so that the bar moves evenly, and a run that falls behind knows it.
 */
export class Progress {
  readonly #plannedSeconds: number
  readonly #now: () => number
  readonly #startedAt: number
  #doneSeconds = 0
  #begunSeconds = 0
  #lastLine = Number.NEGATIVE_INFINITY

  /** `now`: seconds. */
  constructor(plannedSeconds: number, now: () => number = () => performance.now() / 1000) {
    this.#plannedSeconds = plannedSeconds
    this.#now = now
    this.#startedAt = now()
  }

  /** One more measurement begins, for which so many seconds are planned. */
  step(what: string, seconds: number): void {
    this.#doneSeconds += this.#begunSeconds
    this.#begunSeconds = seconds
    const share = Math.min(1, this.#doneSeconds / this.#plannedSeconds)
    const elapsed = this.#now() - this.#startedAt
    const line = `${bar(share)} ${Math.round(share * 100)} % ${Math.round(elapsed)} s  ${what}`
    if (process.stderr.isTTY) process.stderr.write(`\r\u001b[2K${line}`)
    else if (this.#now() - this.#lastLine > 60) {
      this.#lastLine = this.#now()
      process.stderr.write(`${line}\n`)
    }
  }

  /** What was planned will not be done in this run: it counts as done. */
  skip(seconds: number): void {
    this.#doneSeconds += seconds
  }

  /** Whether what was begun so far took longer than planned: on a busy machine a run would otherwise have no end. */
  get late(): boolean {
    const planned = this.#doneSeconds + this.#begunSeconds
    return this.#now() - this.#startedAt > planned + GRACE_SECONDS
  }

  /** Makes room for a table. */
  clear(): void {
    if (process.stderr.isTTY) process.stderr.write('\r\u001b[2K')
  }
}

function bar(share: number): string {
  const filled = Math.round(share * 20)
  return `[${'#'.repeat(filled)}${'.'.repeat(20 - filled)}]`
}
