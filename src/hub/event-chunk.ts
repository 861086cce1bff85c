import type { Cursors } from '../cursor.ts'
import type { EventRun } from '../event.ts'
import type { Sink } from './sink.ts'

/** The size of a chunk. The outbox of a slow client exceeds its bound by at most one chunk. */
const CHUNK_EVENTS = 32
const CHUNK_CHARACTERS = 16_384

/** Cuts a run into chunks; each becomes one write per connection. */
export function chunks(epoch: string, cursors: Cursors, run: EventRun): EventChunk[] {
  const { first, previous, times, bodies } = run
  if (bodies.length === 1) return [new EventChunk(epoch, cursors, run)]
  const made: EventChunk[] = []
  for (let from = 0, to = 0; from < bodies.length; from = to) {
    for (let length = 0; to < bodies.length && to - from < CHUNK_EVENTS && length < CHUNK_CHARACTERS; to++)
      length += bodies[to]?.length ?? 0
    const isAll = to - from === bodies.length
    made.push(
      new EventChunk(epoch, cursors, {
        first: first + from,
        previous: from === 0 ? previous : times[from - 1],
        times: isAll ? times : times.slice(from, to),
        bodies: isAll ? bodies : bodies.slice(from, to),
      }),
    )
  }
  return made
}

/** Consecutive events of one user's stream, encoded at most once per transport. */
export class EventChunk {
  readonly epoch: string
  readonly first: number
  readonly last: number
  readonly #cursors: Cursors
  readonly #run: EventRun
  #ids: readonly string[] | undefined
  readonly #encoded: Partial<Record<Sink['transport'], string>> = {}

  constructor(epoch: string, cursors: Cursors, run: EventRun) {
    this.epoch = epoch
    this.first = run.first
    this.last = run.first + run.bodies.length - 1
    this.#cursors = cursors
    this.#run = run
  }

  /** The time of an event of the chunk, or of the event before its first. */
  timeAt(seq: number): number | undefined {
    return seq === this.first - 1 ? this.#run.previous : this.#run.times[seq - this.first]
  }

  /** The frames of the events after the number `seq`, which lies in or just before the chunk. */
  after(seq: number, { codec, transport }: Pick<Sink, 'codec' | 'transport'>): string {
    const { bodies } = this.#run
    const skip = seq + 1 - this.first
    if (skip > 0) return codec.encode(this.#identify().slice(skip), bodies.slice(skip))
    this.#encoded[transport] ??= codec.encode(this.#identify(), bodies)
    return this.#encoded[transport]
  }

  #identify(): readonly string[] {
    if (this.#ids !== undefined) return this.#ids
    const ids: string[] = []
    for (const time of this.#run.times)
      ids.push(this.#cursors.format(this.epoch, { seq: this.first + ids.length, time }))
    this.#ids = ids
    return ids
  }
}
