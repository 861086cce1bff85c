import { nowMs } from './clock.ts'

const NEEDLE = Buffer.from('"viewer_id":"@')
const UNDERSCORE = 0x5f
const ZERO = 0x30

/** A viewer id that carries the time of sending in microseconds, `@<time>_<rest>`; `rest` keeps ids of one moment apart. */
export function stampedViewer(rest: string | number): string {
  return `@${Math.round(nowMs() * 1000)}_${rest}`
}

/**
 * Hands over the time of sending, in milliseconds, of each event in the bytes that carries one. One that the end of a
 * read cuts is passed over: these are samples, the counting is done by seq.
 */
export function readStamps(bytes: Buffer, take: (sentMs: number) => void): void {
  for (let at = bytes.indexOf(NEEDLE); at !== -1; at = bytes.indexOf(NEEDLE, at)) {
    at += NEEDLE.length
    let microseconds = 0
    while (at < bytes.length && bytes[at] !== UNDERSCORE) {
      microseconds = microseconds * 10 + (bytes[at] as number) - ZERO
      at += 1
    }
    if (at < bytes.length) take(microseconds / 1000)
  }
}
