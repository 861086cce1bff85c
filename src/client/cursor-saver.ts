import type { Context } from './context.ts'
import { within } from './deadline.ts'
import { type CursorStore, wordsOf } from './types.ts'

/**
 * Keeps the cursor in the caller's store without holding up the events: one save at a time, always of the newest cursor,
 * so that an older one never overwrites a newer. For that reason a save that does not answer is waited for, and nothing
 * more is kept meanwhile: that costs events that come again. A save that fails is replaced by the next.
 */
export class CursorSaver {
  readonly #store: CursorStore | undefined
  readonly #context: Context
  #newest: [cursor: string, reset: boolean] | undefined
  #busy = false
  #saving: Promise<void> | undefined

  constructor(store: CursorStore | undefined, context: Context) {
    this.#store = store
    this.#context = context
  }

  /** The kept cursor, undefined where there is none, null where it can't be read in time. */
  async load(): Promise<string | null | undefined> {
    const { signal, timing, debug } = this.#context
    try {
      const work = (async () => this.#store?.load())()
      const kept = await within(work, signal, timing.answerTimeoutMs, 'store.load')
      return typeof kept === 'string' && kept !== '' ? kept : undefined
    } catch (error) {
      debug(`store.load: ${wordsOf(error)}`)
      return null
    }
  }

  save(cursor: string, reset: boolean): void {
    this.#newest = [cursor, reset || this.#newest?.[1] === true]
    if (!this.#busy && this.#store !== undefined) this.#saving = this.#saveAll(this.#store)
  }

  /** Resolves when nothing is left to save. */
  async saved(): Promise<void> {
    await this.#saving
  }

  async #saveAll(store: CursorStore): Promise<void> {
    this.#busy = true
    for (let next = this.#newest; next !== undefined; next = this.#newest) {
      this.#newest = undefined
      try {
        const work = store.save(...next)
        // A store that has saved at once is not waited for: the page may be gone after this turn.
        if (work !== undefined) await work
      } catch (error) {
        this.#context.debug(`store.save: ${wordsOf(error)}`)
      }
    }
    this.#busy = false
  }
}
