const LINE_EVERY_MS = 30_000

/** One line on standard error that says what is going on; where that is no terminal, a line now and then. */
export class Progress {
  readonly #startedAt = performance.now()
  #lastLine = -Infinity

  show(text: string): void {
    const line = `${Math.round((performance.now() - this.#startedAt) / 1000)} s  ${text}`
    if (process.stderr.isTTY) {
      process.stderr.write(`\r\u001b[2K${line}`)
      return
    }
    if (performance.now() - this.#lastLine < LINE_EVERY_MS) return
    this.#lastLine = performance.now()
    process.stderr.write(`${line}\n`)
  }

  clear(): void {
    if (process.stderr.isTTY) process.stderr.write('\r\u001b[2K')
  }
}
