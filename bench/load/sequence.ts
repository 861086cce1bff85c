const NEEDLE = Buffer.from('"seq":')
const COMMA = 0x2c
const ZERO = 0x30

/**
 * Counts the events in one connection's bytes by their `"seq":`, which each event has once, and checks that each
 * number follows the one before. It parses neither JSON nor frames: a client that did would be the bottleneck.
 */
export class Sequence {
  /** Events seen. */
  count = 0
  /** Numbers that were not the one before plus one: lost, doubled or reordered events. */
  faults = 0
  #last: number | undefined
  /** A number cut by the end of a read, from the needle's first byte on. */
  #rest: Buffer = Buffer.alloc(0)

  /** How many events the chunk completed. The chunk may be reused by the caller afterwards. */
  push(chunk: Buffer): number {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    let seen = 0
    let position = bytes.indexOf(NEEDLE)
    while (position !== -1) {
      const end = bytes.indexOf(COMMA, position + NEEDLE.length)
      if (end === -1) break
      this.#take(digits(bytes, position + NEEDLE.length, end))
      seen += 1
      position = bytes.indexOf(NEEDLE, end)
    }
    this.#rest = Buffer.from(bytes.subarray(position === -1 ? needleStart(bytes) : position))
    this.count += seen
    return seen
  }

  #take(seq: number): void {
    if (this.#last !== undefined && seq !== this.#last + 1) this.faults += 1
    this.#last = seq
  }
}

function digits(bytes: Buffer, from: number, to: number): number {
  let value = 0
  for (let i = from; i < to; i += 1) value = value * 10 + (bytes[i] as number) - ZERO
  return value
}

/** Where a needle begins that the end of the bytes cut; the bytes' length where none does. */
function needleStart(bytes: Buffer): number {
  for (let length = Math.min(NEEDLE.length - 1, bytes.length); length > 0; length -= 1)
    if (bytes.subarray(bytes.length - length).equals(NEEDLE.subarray(0, length))) return bytes.length - length
  return bytes.length
}
