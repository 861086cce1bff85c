import type { EventRun } from '../event.ts'
import type { Codec } from './sink.ts'

/** Consecutive events of one user's stream, encoded at most once per transport. */
export class Run {
  readonly epoch: string
  readonly first: number
  readonly last: number
  readonly #bodies: readonly string[]
  readonly #encoded = new Map<Codec, Buffer>()

  constructor(epoch: string, { first, bodies }: EventRun) {
    this.epoch = epoch
    this.first = first
    this.last = first + bodies.length - 1
    this.#bodies = bodies
  }

  /** The frames of the events after `cursor`, which lies in or just before the run. */
  after(cursor: number, codec: Codec): Buffer {
    const skip = cursor + 1 - this.first
    if (skip > 0) return codec.encode(this.epoch, cursor + 1, this.#bodies.slice(skip))
    let frames = this.#encoded.get(codec)
    if (frames === undefined) {
      frames = codec.encode(this.epoch, this.first, this.#bodies)
      this.#encoded.set(codec, frames)
    }
    return frames
  }
}
