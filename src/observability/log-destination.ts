import { fstatSync, writeSync } from 'node:fs'

/** Bytes (some thousand lines) that may wait for a slow reader; then lines are dropped. */
const MAX_WAITING_BYTES = 1_048_576
/** Pause before a slow reader is tried again, ms. */
const RETRY_MS = 50

/** Log lines lost since the process started, because the disk was full or the reader was gone or slow. */
export const logLosses = { lines: 0 }

/** Writes as much as possible without waiting. @returns the bytes written; throws the system's error */
type Write = (bytes: Buffer) => number

/**
 * Writes log lines to a file, pipe or socket and never waits for it. A line that cannot be written is lost, and the service
 * goes on: pino's own destination ends the process when the disk is full, and blocks the event loop while a reader stops.
 */
export class LogDestination {
  readonly #write: Write
  #waiting: Buffer[] = []
  #waitingBytes = 0
  #lost = 0
  /** The last line was cut off, so the next one must begin on a new line. */
  #cut = false
  #retry: NodeJS.Timeout | undefined
  /** Called when lines can be written again, with the number of lost lines. */
  onRecovered: (lost: number) => void = () => {}

  constructor(write: Write) {
    this.#write = write
  }

  write(line: string): void {
    if (this.#waiting.length > 0) this.flush()
    const bytes = Buffer.from(this.#cut ? `\n${line}` : line)
    if (this.#waiting.length > 0) this.#wait(bytes)
    else this.#now(bytes)
  }

  /** Writes the waiting lines, as far as possible without blocking. */
  flush(): void {
    clearTimeout(this.#retry)
    this.#retry = undefined
    const waiting = this.#waiting
    this.#waiting = []
    this.#waitingBytes = 0
    waiting.forEach((bytes) => {
      if (this.#waiting.length > 0) this.#wait(bytes)
      else this.#now(bytes)
    })
  }

  #now(bytes: Buffer): void {
    let written = 0
    try {
      written = this.#write(bytes)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EAGAIN') this.#wait(bytes)
      else this.#lose()
      return
    }
    this.#cut = false
    // Writing the rest either succeeds or reports the error.
    if (written < bytes.length) {
      this.#cut = true
      this.#rest(bytes.subarray(written))
    } else if (this.#lost > 0) this.#recover()
  }

  /** The rest of a line whose beginning was written. */
  #rest(bytes: Buffer): void {
    try {
      const written = this.#write(bytes)
      if (written === bytes.length) this.#cut = false
      else this.#wait(bytes.subarray(written))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EAGAIN') {
        this.#cut = false
        this.#wait(bytes)
      } else this.#lose()
    }
  }

  #wait(bytes: Buffer): void {
    if (this.#waitingBytes + bytes.length > MAX_WAITING_BYTES) {
      this.#lose()
      return
    }
    this.#waiting.push(bytes)
    this.#waitingBytes += bytes.length
    this.#retry ??= setTimeout(() => this.flush(), RETRY_MS).unref()
  }

  #lose(): void {
    this.#lost++
    logLosses.lines++
  }

  #recover(): void {
    const lost = this.#lost
    this.#lost = 0
    this.onRecovered(lost)
  }
}

const STDOUT = 1
let standard: LogDestination | undefined

/** Standard output, one for the whole process. */
export function standardOutput(): LogDestination {
  if (standard !== undefined) return standard
  const kind = fstatSync(STDOUT)
  // When Node opens it, the descriptor becomes non-blocking: a full pipe then gives EAGAIN instead of waiting.
  if (kind.isFIFO() || kind.isSocket()) process.stdout.on('error', () => {})
  standard = new LogDestination((bytes) => writeSync(STDOUT, bytes))
  const flush = standard
  process.on('exit', () => flush.flush())
  return standard
}
