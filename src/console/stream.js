import { RequestFailed, request } from './api.js'

/**
 * One subscription kept alive over whichever transport: it remembers the cursor, reconnects with backoff, honours
 * what the server says when it closes, and finds out why a connection was refused.
 *
 * @typedef {{ id: string, seq: number, type: string, data: any, timestamp: string }} StoryEvent
 * @typedef {{ type: 'stream.open' | 'stream.reset' | 'stream.close', data: any }} Control
 *
 * @typedef {object} TransportEvents
 * @property {(message: any) => void} onMessage
 * @property {() => void} onInterrupted the transport lost the connection and reconnects by itself
 * @property {(end: { code?: number }) => void} onDown it is over; code: the WebSocket's close code
 *
 * @typedef {(where: { token: string, cursor: string | undefined }, events: TransportEvents) => () => void} Transport
 *   opens a connection, returns what closes it
 *
 * @typedef {object} State
 * @property {'idle' | 'connecting' | 'live' | 'waiting' | 'ended'} name
 * @property {string} words
 *
 * @typedef {object} StreamEvents
 * @property {(event: StoryEvent) => void} onEvent
 * @property {(control: Control) => void} onControl
 * @property {(state: State) => void} onState
 */

const BACKOFF_MS = { first: 500, most: 15_000 }

/** WebSocket close codes after which trying again would be refused again, or fight the connection's successor. */
const FINAL_CODES = new Map([
  [1008, 'closed: the token was for another user'],
  [4500, 'replaced: this user opened too many connections'],
])

const REASONS = new Map([
  ['token_expired', 'the token expired'],
  ['replaced', 'this user opened too many connections'],
  ['draining', 'the instance is stopping'],
  ['stalled', 'this page read too slowly'],
  ['overloaded', 'the service is overloaded'],
])

export class Stream {
  #transport
  #identity
  #on
  /** @type {string | undefined} */
  #cursor
  /** @type {(() => void) | undefined} */
  #close
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer
  /** Changes with every connect and disconnect, so that what an abandoned connection still says is not heard. */
  #generation = 0
  #failures = 0
  /** A token that was refused is exchanged once, not for ever. */
  #tokenRenewed = false
  #opened = false
  /** @type {{ reason: string, reconnect: boolean, retry_ms: number } | undefined} */
  #farewell

  /**
   * @param {Transport} transport
   * @param {import('./identity.js').Identity} identity
   * @param {StreamEvents} on
   */
  constructor(transport, identity, on) {
    this.#transport = transport
    this.#identity = identity
    this.#on = on
  }

  get cursor() {
    return this.#cursor
  }

  /**
   * Connects, dropping any connection there is.
   * @param {{ resume: boolean }} options resume: after the last cursor; else from now on
   */
  connect({ resume }) {
    this.#drop()
    if (!resume) this.#cursor = undefined
    this.#failures = 0
    this.#tokenRenewed = false
    void this.#open()
  }

  disconnect() {
    this.#drop()
    this.#on.onState({ name: 'idle', words: 'disconnected' })
  }

  /** Forgets the cursor too: it belongs to one user's stream. */
  forget() {
    this.disconnect()
    this.#cursor = undefined
  }

  #drop() {
    this.#generation += 1
    clearTimeout(this.#timer)
    this.#close?.()
    this.#close = undefined
  }

  /** @param {{ freshToken?: boolean }} [options] */
  async #open({ freshToken = false } = {}) {
    const generation = ++this.#generation
    const current = () => generation === this.#generation
    this.#opened = false
    this.#farewell = undefined
    this.#on.onState({ name: 'connecting', words: 'connecting …' })
    try {
      const token = await this.#identity.token({ fresh: freshToken })
      if (!current()) return
      this.#close = this.#transport(
        { token, cursor: this.#cursor },
        {
          onMessage: (message) => current() && this.#receive(message),
          onInterrupted: () => current() && this.#interrupted(),
          onDown: (end) => current() && void this.#down(end),
        },
      )
    } catch (error) {
      if (current()) this.#failed(error)
    }
  }

  /** @param {any} message */
  #receive(message) {
    if (message.type === 'stream.open' || message.type === 'stream.reset') this.#cursor = message.data.cursor
    if (typeof message.id === 'string') this.#cursor = message.id
    if (message.type === 'stream.open') {
      this.#opened = true
      this.#failures = 0
      this.#tokenRenewed = false
      this.#on.onState({ name: 'live', words: 'live' })
    }
    if (message.type === 'stream.close') this.#farewell = message.data
    if (message.type.startsWith('stream.')) this.#on.onControl(message)
    else this.#on.onEvent(message)
  }

  #interrupted() {
    this.#farewell = undefined
    this.#on.onState({ name: 'waiting', words: 'reconnecting by itself …' })
  }

  /** @param {{ code?: number }} end */
  async #down({ code }) {
    this.#close = undefined
    const farewell = this.#farewell
    const refusal = FINAL_CODES.get(code ?? 0)
    if (refusal !== undefined) return this.#ended(refusal)
    if (farewell?.reconnect === false) return this.#ended(REASONS.get(farewell.reason) ?? farewell.reason)
    if (farewell?.reason === 'token_expired' || code === 4001) return this.#renewToken('the token expired')
    if (farewell !== undefined)
      return this.#wait(farewell.retry_ms, REASONS.get(farewell.reason) ?? farewell.reason)
    if (this.#opened) return this.#wait(this.#backoff(), 'connection lost')
    return this.#diagnose()
  }

  /**
   * Browsers do not tell a page why a stream was refused. The poll is the same resource behind the same checks, and
   * answers with the problem.
   */
  async #diagnose() {
    const generation = this.#generation
    try {
      const token = await this.#identity.token()
      await request({ method: 'GET', path: '/events?limit=1', token })
      if (generation === this.#generation) this.#wait(this.#backoff(), 'connection refused')
    } catch (error) {
      if (generation === this.#generation) this.#failed(error)
    }
  }

  /** @param {unknown} error */
  #failed(error) {
    const words = error instanceof Error ? error.message : String(error)
    const status = error instanceof RequestFailed ? error.status : 0
    if (status === 401) return this.#renewToken(words)
    // 4xx other than "slow down" will be the same the next time.
    if (status >= 400 && status < 500 && status !== 429) return this.#ended(words)
    const asked = error instanceof RequestFailed ? (error.retryAfter ?? 0) * 1000 : 0
    return this.#wait(Math.max(asked, this.#backoff()), words)
  }

  /** @param {string} words */
  #renewToken(words) {
    if (this.#identity.hasOwnToken || this.#tokenRenewed) return this.#ended(words)
    this.#tokenRenewed = true
    void this.#open({ freshToken: true })
  }

  /** @param {string} words */
  #ended(words) {
    this.#drop()
    this.#on.onState({ name: 'ended', words })
  }

  /**
   * @param {number} ms
   * @param {string} words
   */
  #wait(ms, words) {
    this.#on.onState({ name: 'waiting', words: `${words}; again in ${Math.max(1, Math.round(ms / 1000))} s` })
    this.#timer = setTimeout(() => void this.#open(), ms)
  }

  /** Half of it random: a thousand pages that lost the same instance must not come back in the same millisecond. */
  #backoff() {
    const ceiling = Math.min(BACKOFF_MS.most, BACKOFF_MS.first * 2 ** this.#failures)
    this.#failures += 1
    return ceiling / 2 + (Math.random() * ceiling) / 2
  }
}
