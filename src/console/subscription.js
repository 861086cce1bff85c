import { connect } from './client/index.js'
import { Network } from './network.js'

/**
 * A panel's stream, made with the same client that applications use: this turns it on and off and puts its states into
 * words.
 *
 * @typedef {object} GlimpseEvent of any type: an application can append types of its own
 * @property {string} id
 * @property {number} seq
 * @property {string} type
 * @property {any} data
 * @property {string} timestamp
 *
 * @typedef {object} State
 * @property {'idle' | 'connecting' | 'live' | 'waiting' | 'ended'} name
 * @property {string} words
 *
 * @typedef {object} SubscriptionEvents
 * @property {(event: GlimpseEvent) => void} onEvent
 * @property {(reset: import('./client/index.js').Reset) => void} onReset
 * @property {(state: State) => void} onState
 * @property {(unread: number) => void} onUnread
 */

/** What the page says where the service's own words would not help a person. */
const WORDS = new Map([
  ['unauthorized', 'The token was not accepted. It may have expired, or belong to another service.'],
  ['token_expired', 'The token has expired.'],
  ['replaced', 'Replaced: this user opened too many connections.'],
  ['ended', 'The user ended this connection from elsewhere.'],
])

export class Subscription {
  #transport
  #identity
  #on
  #network = new Network()
  /** @type {import('./client/index.js').Stream | undefined} */
  #stream
  /** @type {string | undefined} */
  #cursor

  /**
   * @param {'sse' | 'websocket'} transport
   * @param {import('./identity.js').Identity} identity
   * @param {SubscriptionEvents} on
   */
  constructor(transport, identity, on) {
    this.#transport = transport
    this.#identity = identity
    this.#on = on
  }

  get cursor() {
    return this.#stream?.cursor ?? this.#cursor
  }

  /**
   * Connects, dropping any connection there is.
   * @param {string} [after] the cursor to continue after; none: from now on
   */
  connect(after) {
    this.#drop()
    this.#cursor = after
    const { fetch, WebSocket } = this.#network
    const { pasted } = this.#identity
    /** @type {import('./client/index.js').Stream} */
    const stream = connect({
      url: location.origin,
      transport: this.#transport,
      // A pasted token has no successor: where it is refused, only the person at the page can help.
      ...(pasted === undefined
        ? { getToken: () => this.#identity.token({ fresh: true }) }
        : { token: pasted }),
      ...(after === undefined ? {} : { after }),
      fetch,
      WebSocket,
      onEvent: (event) => (current() ? this.#on.onEvent(event) : undefined),
      onReset: (reset) => (current() ? this.#on.onReset(reset) : undefined),
      onUnread: (unread) => current() && this.#on.onUnread(unread),
      onState: (state) => current() && this.#on.onState(inWords(state)),
    })
    // A stream that was dropped may still report something: that is ignored.
    const current = () => this.#stream === stream
    this.#stream = stream
    this.#on.onState({ name: 'connecting', words: 'connecting …' })
  }

  disconnect() {
    this.#drop()
    this.#on.onState({ name: 'idle', words: 'disconnected' })
  }

  /** Cuts the connection; the client notices and reconnects by itself. */
  cut() {
    this.#network.cut()
  }

  /** Marks everything so far as read, on all of the user's devices. */
  async markRead() {
    await this.#stream?.markRead()
  }

  /** Forgets the cursor too: it belongs to one user's stream. */
  forget() {
    this.disconnect()
    this.#cursor = undefined
  }

  #drop() {
    this.#cursor = this.cursor
    this.#stream?.close()
    this.#stream = undefined
  }
}

/**
 * @param {import('./client/index.js').State} state
 * @returns {State}
 */
function inWords(state) {
  switch (state.name) {
    case 'connecting':
      return { name: 'connecting', words: 'connecting …' }
    case 'live':
      return { name: 'live', words: 'live' }
    case 'waiting': {
      const wait = state.retryInMs < 1000 ? 'in a moment' : `in ${Math.round(state.retryInMs / 1000)} s`
      return { name: 'waiting', words: `${state.reason}; again ${wait}` }
    }
    case 'closed':
      return { name: 'ended', words: WORDS.get(state.reason) ?? state.error?.message ?? 'ended' }
  }
}
