/**
 * A network that can be cut from the page: what the client connects through. A real one breaks by itself, but not at the
 * press of a button.
 */
export class Network {
  /** @type {Set<() => void>} */
  #connections = new Set()

  /** Ends every open connection without a word, as a lost network does. */
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
          // 1006 (RFC 6455 §7.1.5) is what a page is told where no close frame came.
          this.onclose?.(new CloseEvent('close', { code: 1006 }))
          this.close()
        }
        connections.add(end)
        this.addEventListener('close', () => connections.delete(end))
      }
    }
  }
}
