/** The network that the panels' clients use, which the page can cut at the press of a button. */
export class Network {
  /** @type {Set<() => void>} */
  #connections = new Set()

  /** Ends every open connection without a close, as a lost network does. */
  cut() {
    for (const end of this.#connections) end()
    this.#connections.clear()
  }

  /** @type {typeof fetch} */
  fetch = async (input, init = {}) => {
    const controller = new AbortController()
    const end = () => controller.abort(new TypeError('the connection was cut'))
    init.signal?.addEventListener('abort', () => controller.abort(init.signal?.reason))
    const response = await fetch(input, { ...init, signal: controller.signal })
    if (response.headers.get('content-type')?.startsWith('text/event-stream')) {
      this.#connections.add(end)
      init.signal?.addEventListener('abort', () => this.#connections.delete(end))
    }
    return response
  }

  /** @returns {import('./client/index.js').WebSocketConstructor} */
  get WebSocket() {
    const connections = this.#connections
    return class extends WebSocket {
      /** @param {string} url */
      constructor(url) {
        super(url)
        const end = () => {
          // A page sees 1006 if no close frame arrived (RFC 6455 §7.1.5).
          this.onclose?.(new CloseEvent('close', { code: 1006 }))
          this.close()
        }
        connections.add(end)
        this.addEventListener('close', () => connections.delete(end))
      }
    }
  }
}
