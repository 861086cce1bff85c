/** What can cut a pause short: any sign that a retry may succeed, only a look at the page, or nothing. */
export type Wakeable = 'any' | 'look' | 'no'

/** An event ends the wait, not a time. */
export const NEVER = Number.POSITIVE_INFINITY

/** Pauses that end early when the network or the page is back, or the stream ends. */
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
      // setTimeout treats it as 0.
      const timer = ms === NEVER ? undefined : setTimeout(end, ms)
      this.#wake = (look) => {
        if (this.#ended || wakeable === 'any' || (wakeable === 'look' && look)) end()
      }
    })
  }

  /** A pause that anything may cut short. Rejects with the signal's reason when that is aborted. */
  async pauseUnless(signal: AbortSignal, ms: number): Promise<void> {
    const interrupted = () => this.#wake(true)
    signal.addEventListener('abort', interrupted)
    await this.pause(ms, 'any')
    signal.removeEventListener('abort', interrupted)
    signal.throwIfAborted()
  }

  /** @param look the page is visible again */
  wake(look: boolean): void {
    this.#wake(look)
  }

  end(): void {
    this.#ended = true
    this.#wake(true)
  }
}
