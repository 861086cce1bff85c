/** Waiting that can be cut short: because the network or the page is back, or because the stream ends. */
export class Pauses {
  #ended = false
  #wake = () => {}

  /** @param wakeable whether `wake` ends it; `end` always does */
  pause(ms: number, wakeable: boolean): Promise<void> {
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer)
        resolve()
      }
      const timer = setTimeout(end, ms)
      this.#wake = () => {
        if (wakeable || this.#ended) end()
      }
    })
  }

  /** A wakeable pause that the signal ends too; rejects with its reason. */
  async pauseUnless(signal: AbortSignal, ms: number): Promise<void> {
    const interrupted = () => this.#wake()
    signal.addEventListener('abort', interrupted)
    await this.pause(ms, true)
    signal.removeEventListener('abort', interrupted)
    signal.throwIfAborted()
  }

  wake(): void {
    this.#wake()
  }

  end(): void {
    this.#ended = true
    this.#wake()
  }
}
