import { within } from './deadline.ts'
import { type CursorStore, wordsOf } from './types.ts'

/**
 * Keeps the cursor in the caller's store without holding up the events: one save at a time, always of the newest cursor,
 * so that an older one never overwrites a newer. A save that fails is not repeated, because the next one replaces it; one
 * that settles after its time may have overwritten a newer cursor, so the newest is saved again.
 */
export class CursorSaver {
  readonly #store: CursorStore | undefined
  readonly #timeoutMs: number
  readonly #failed: (what: string) => void
  #newest: { readonly cursor: string; readonly reset: boolean } | undefined
  #last = ''
  #busy = false
  #saving: Promise<void> | undefined

  constructor(store: CursorStore | undefined, timeoutMs: number, failed: (what: string) => void) {
    this.#store = store
    this.#timeoutMs = timeoutMs
    this.#failed = failed
  }

  /** The kept cursor, undefined where there is none, null where it can't be read. */
  async load(signal: AbortSignal): Promise<string | null | undefined> {
    try {
      const work = (async () => this.#store?.load())()
      const kept = await within(work, { signal, ms: this.#timeoutMs, what: 'store.load' })
      return typeof kept === 'string' && kept !== '' ? kept : undefined
    } catch (error) {
      this.#failed(`store.load: ${wordsOf(error)}`)
      return null
    }
  }

  save(cursor: string, reset: boolean): void {
    this.#newest = { cursor, reset: reset || this.#newest?.reset === true }
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
      this.#last = next.cursor
      let late = false
      try {
        const work = store.save(next.cursor, next.reset)
        // A store that has saved at once is not waited for: the page may be gone after this turn.
        if (work === undefined) continue
        const again = () => {
          if (late) this.save(this.#last, false)
        }
        work.then(again, () => {})
        await within(work, { ms: this.#timeoutMs, what: 'store.save' })
      } catch (error) {
        late = true
        this.#failed(`store.save: ${wordsOf(error)}`)
      }
    }
    this.#busy = false
  }
}
