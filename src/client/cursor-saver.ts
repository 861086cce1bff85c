import type { Context } from './context.ts'
import { within } from './deadline.ts'
import { type CursorStore, wordsOf } from './types.ts'

/**
 * Saves the cursor in the caller's store without delaying events. It saves the newest cursor, and one at a time, so that
 * an older one never overwrites a newer one. So it also waits for a save that never answers and saves nothing more; then
 * events come again after a reload. A failed save is replaced by the next.
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

  /** The saved cursor; undefined if there is none, null if it can't be read in time. */
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
        // Don't wait for a store that has saved synchronously: the page may be gone after this turn.
        if (work !== undefined) await work
      } catch (error) {
        this.#context.debug(`store.save: ${wordsOf(error)}`)
      }
    }
    this.#busy = false
  }
}
