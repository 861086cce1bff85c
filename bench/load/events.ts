import { nowMs } from './jobs.ts'

const STAMP = Buffer.from('"viewer_id":"@')
const SEQ = Buffer.from('"seq":')
const [COMMA, UNDERSCORE] = [0x2c, 0x5f]

/** An event as long as Glimpse's own, to the byte or two. */
export function eventText(seq: number, viewer: string): string {
  const at = '2025-10-01T15:13:26.000Z'
  return `{"id":"7f3a9c2b11de.${seq}","seq":${seq},"type":"story.viewed","data":{"story_id":"550e8400-e29b-41d4-a716-446655440000","viewer_id":"${viewer}","viewed_at":"${at}"},"timestamp":"${at}"}`
}

/** Its frame as server-sent event. */
export function eventFrame({ seq, json }: Pick<Event, 'seq' | 'json'>): string {
  return `id: 7f3a9c2b11de.${seq}\nevent: story.viewed\ndata: ${json}\n\n`
}

/** A viewer id that carries the time of sending in microseconds, `@<time>_<rest>`; `rest` keeps ids of one moment apart. */
export function stampedViewer(rest: string | number): string {
  return `@${Math.round(nowMs() * 1000)}_${rest}`
}

const heads = new Map<string, number>()

/** The next event of a user, made here: its number in their stream, and its JSON text. */
export function nextEvent(user: string) {
  const seq = (heads.get(user) ?? 0) + 1
  heads.set(user, seq)
  return { user, seq, json: eventText(seq, stampedViewer(seq)) }
}

export type Event = ReturnType<typeof nextEvent>

/**
 * Hands over the time of sending, in milliseconds, of each event in the bytes that carries one. One that the end of a
 * read cuts is passed over: these are samples, the counting is done by seq.
 */
export function readStamps(bytes: Buffer, take: (sentMs: number) => void): void {
  for (let at = bytes.indexOf(STAMP); at !== -1; at = bytes.indexOf(STAMP, at)) {
    const from = at + STAMP.length
    at = bytes.indexOf(UNDERSCORE, from)
    if (at === -1) return
    take(digits(bytes, from, at) / 1000)
  }
}

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
    let [seen, end] = [0, 0]
    let position = bytes.indexOf(SEQ)
    for (; position !== -1; position = bytes.indexOf(SEQ, end)) {
      end = bytes.indexOf(COMMA, position + SEQ.length)
      if (end === -1) break
      const seq = digits(bytes, position + SEQ.length, end)
      if (this.#last !== undefined && seq !== this.#last + 1) this.faults += 1
      this.#last = seq
      seen += 1
    }
    this.#rest = Buffer.from(bytes.subarray(position === -1 ? cutNeedle(bytes) : position))
    this.count += seen
    return seen
  }
}

function digits(bytes: Buffer, from: number, to: number): number {
  let value = 0
  for (let i = from; i < to; i += 1) value = value * 10 + (bytes[i] as number) - 0x30
  return value
}

/** Where a needle begins that the end of the bytes cut; the bytes' length where none does. */
function cutNeedle(bytes: Buffer): number {
  for (let length = Math.min(SEQ.length - 1, bytes.length); length > 0; length -= 1)
    if (bytes.subarray(bytes.length - length).equals(SEQ.subarray(0, length))) return bytes.length - length
  return bytes.length
}
