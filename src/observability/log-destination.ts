import { fstatSync, writeSync } from 'node:fs'

/** How much waits for a reader that is slow, before lines are dropped; some thousand of them. */
const MAX_WAITING_BYTES = 1_048_576
/** How soon a reader that was slow is tried again, ms. */
const RETRY_MS = 50

/** Lines of the log that could not be written since the process started, because of a full disk or a reader that is gone or slow. */
export const logLosses = { lines: 0 }

/** Writes as much as can be written at once. @returns how many bytes; throws what the system says */
type Write = (bytes: Buffer) => number

/**
 * Where log lines go: a file, or a pipe or socket that is never waited for. A line that can't be written costs itself,
 * not the service: pino's own destination ends the process on a full disk, and waits for a reader that stopped, and with
 * it the event loop.
 */
export class LogDestination {
  readonly #write: Write
  #waiting: Buffer[] = []
  #waitingBytes = 0
  #lost = 0
  /** The last line was cut off: the next must not be glued to it. */
  #cut = false
  #retry: NodeJS.Timeout | undefined
  /** Hears, once lines can be written again, how many were lost. */
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

  /** Writes what waits, as far as it can be. */
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
    // The rest meets the reason, or goes through.
    if (written < bytes.length) {
      this.#cut = true
      this.#rest(bytes.subarray(written))
    } else if (this.#lost > 0) this.#recover()
  }

  /** What is left of a line that was begun. */
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
  // Node opens it, and with that makes it one that says "not now" instead of waiting for its reader.
  if (kind.isFIFO() || kind.isSocket()) process.stdout.on('error', () => {})
  standard = new LogDestination((bytes) => writeSync(STDOUT, bytes))
  const flush = standard
  process.on('exit', () => flush.flush())
  return standard
}
