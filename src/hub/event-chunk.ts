import type { EventRun } from '../event.ts'
import type { Sink } from './sink.ts'

/** Events are handed on in chunks, so that a slow reader's outbox grows by no more than one of them past its bound. */
const CHUNK_EVENTS = 32
const CHUNK_CHARACTERS = 16_384

/** The events of a run in chunks, each of which becomes one write per connection. */
export function chunks(epoch: string, { first, bodies }: EventRun): EventChunk[] {
  const runs: EventChunk[] = []
  for (let from = 0, to = 0; from < bodies.length; from = to) {
    for (let length = 0; to < bodies.length && to - from < CHUNK_EVENTS && length < CHUNK_CHARACTERS; to++)
      length += bodies[to]?.length ?? 0
    const isAll = to - from === bodies.length
    runs.push(new EventChunk(epoch, { first: first + from, bodies: isAll ? bodies : bodies.slice(from, to) }))
  }
  return runs
}

/** Consecutive events of one user's stream, encoded at most once per transport. */
export class EventChunk {
  readonly epoch: string
  readonly first: number
  readonly last: number
  readonly #bodies: readonly string[]
  readonly #encoded: Partial<Record<Sink['transport'], Buffer>> = {}

  constructor(epoch: string, { first, bodies }: EventRun) {
    this.epoch = epoch
    this.first = first
    this.last = first + bodies.length - 1
    this.#bodies = bodies
  }

  /** The frames of the events after `cursor`, which lies in or just before the run. */
  after(cursor: number, { codec, transport }: Pick<Sink, 'codec' | 'transport'>): Buffer {
    const skip = cursor + 1 - this.first
    if (skip > 0) return codec.encode(this.epoch, cursor + 1, this.#bodies.slice(skip))
    this.#encoded[transport] ??= codec.encode(this.epoch, this.first, this.#bodies)
    return this.#encoded[transport]
  }
}
