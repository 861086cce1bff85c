const startedAt = performance.now()
let lastLineAt = Number.NEGATIVE_INFINITY

/** Says on standard error what is being measured: on one line that is written anew; without a terminal, once a minute. */
export function sayProgress(what: string): void {
  const now = performance.now()
  if (!process.stderr.isTTY && now - lastLineAt < 60_000) return
  lastLineAt = now
  clearProgress()
  process.stderr.write(
    `${Math.round((now - startedAt) / 1000)} s  ${what}${process.stderr.isTTY ? '' : '\n'}`,
  )
}

/** Makes room for a table. */
export function clearProgress(): void {
  if (process.stderr.isTTY) process.stderr.write('\r\u001b[2K')
}
