/** What can cut a pause short: anything that speaks for trying again, only somebody's look at the page, or nothing. */
export type Wakeable = 'any' | 'look' | 'no'

/** Something else than a time ends the wait. */
export const NEVER = Number.POSITIVE_INFINITY

/** Waiting that can be cut short: because the network or the page is back, or because the stream ends. */
export class Pauses {
  #ended = false
  #wake = (_look: boolean) => {}

  /** @param ms NEVER: until it is woken */
  pause(ms: number, wakeable: Wakeable): Promise<void> {
    if (this.#ended) return Promise.resolve()
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer)
        resolve()
      }
      // setTimeout takes it for 0.
      const timer = ms === NEVER ? undefined : setTimeout(end, ms)
      this.#wake = (look) => {
        if (this.#ended || wakeable === 'any' || (wakeable === 'look' && look)) end()
      }
    })
  }

  /** A pause that anything may cut short, the signal's abort too; rejects with its reason. */
  async pauseUnless(signal: AbortSignal, ms: number): Promise<void> {
    const interrupted = () => this.#wake(true)
    signal.addEventListener('abort', interrupted)
    await this.pause(ms, 'any')
    signal.removeEventListener('abort', interrupted)
    signal.throwIfAborted()
  }

  /** @param look somebody looks at the page again */
  wake(look: boolean): void {
    this.#wake(look)
  }

  end(): void {
    this.#ended = true
    this.#wake(true)
  }
}
