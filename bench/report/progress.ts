/** One line on standard error that says how far the run is; where that is no terminal, a line a minute at most. */
export class Progress {
  readonly #total: number
  readonly #started = performance.now()
  #done = 0
  #lastLine = Number.NEGATIVE_INFINITY

  constructor(total: number) {
    this.#total = total
  }

  /** One more measurement begins. */
  step(what: string): void {
    const share = Math.min(1, this.#done / this.#total)
    const seconds = Math.round((performance.now() - this.#started) / 1000)
    const line = `${bar(share)} ${Math.round(share * 100)} % ${seconds} s  ${what}`
    this.#done += 1
    if (process.stderr.isTTY) process.stderr.write(`\r\u001b[2K${line}`)
    else if (performance.now() - this.#lastLine > 60_000) {
      this.#lastLine = performance.now()
      process.stderr.write(`${line}\n`)
    }
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
