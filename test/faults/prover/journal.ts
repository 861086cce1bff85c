import type { ResetReason } from '../../../src/event.ts'
import { partsOf } from '../../support/cursor.ts'

/** What one client was told, in the order it was told; `at` is performance.now(). */
export type Entry =
  /** A connection began; the stream goes on after this place. */
  | { readonly type: 'open'; readonly at: number; readonly epoch: string; readonly seq: number }
  | {
      readonly type: 'event'
      readonly at: number
      readonly epoch: string
      readonly seq: number
      /** The operation it came from; undefined where no writer of ours made it. */
      readonly operation: number | undefined
    }
  | {
      readonly type: 'reset'
      readonly at: number
      readonly reason: ResetReason
      readonly epoch: string
      readonly seq: number
    }
  /** The connection ended. */
  | { readonly type: 'end'; readonly at: number; readonly why: string }

export interface Journal {
  readonly client: string
  readonly author: string
  readonly entries: readonly Entry[]
  /** Whether it is connected now. */
  readonly live: boolean
}

/** The text of every event anybody was sent: all clients of an author must have got the same, byte for byte. */
export class Texts {
  readonly #texts = new Map<string, Map<string, string>>()
  /** Of each author, what was sent last under `<epoch>.<seq>`. */
  readonly #latest = new Map<string, string>()
  /** Events whose text differed between two clients or two deliveries. */
  readonly differing: string[] = []

  /** @param id the event's cursor: where a history was set back, a number stands for two events, with two checks */
  add(author: string, id: string, text: string): void {
    const { epoch, seq } = partsOf(id)
    this.#latest.set(`${author} ${epoch}.${seq}`, text)
    let texts = this.#texts.get(author)
    if (texts === undefined) {
      texts = new Map()
      this.#texts.set(author, texts)
    }
    const known = texts.get(id)
    if (known === undefined) texts.set(id, text)
    else if (known !== text) this.differing.push(`${author} ${id}: ${known} and ${text}`)
  }

  /** @param id an event's cursor, or `<epoch>.<seq>` for what was sent last under that */
  get(author: string, id: string): string | undefined {
    return this.#texts.get(author)?.get(id) ?? this.#latest.get(`${author} ${id}`)
  }
}
