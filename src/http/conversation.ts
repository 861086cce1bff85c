import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { GlimpseError } from '../errors.ts'
import { type UnsentAnswer, UnsentAnswers, type UnsentLimits } from '../limits/unsent.ts'
import { destroyLater, endSocket } from '../transport/socket.ts'

export interface ConversationOptions {
  readonly headersTimeoutMs: number
  readonly keepAliveTimeoutMs: number
  readonly answerTimeoutMs: number
  readonly unsent: UnsentLimits
  /** Called at a bound: too many pipelined requests, an answer not read in time, or too many unread answers. */
  readonly onLimited: (limit: 'pipelined_requests' | 'answer_timeout' | 'unsent_answers') => void
  /** Answers a request. Called for the next one only after the client has read the last answer. */
  readonly answer: (request: IncomingMessage, response: ServerResponse, conversation: Conversation) => void
}

type Exchange = readonly [IncomingMessage, ServerResponse]

/** Node's chunk of 64 KiB has fewer requests than this, unless they have no token. */
const MAX_PIPELINED = 512
/** Pipelined requests that wait on all sockets; each takes about 2 kB. */
const MAX_WAITING = 8192

const CONVERSATION = Symbol('conversation')
type Held = Socket & { [CONVERSATION]?: Conversation | undefined }

/** Shared by all sockets, so that a stream does not keep its conversation in memory. */
function closed(this: Held): void {
  this[CONVERSATION]?.close()
}

/** The kernel has taken the whole answer. Shared by all responses, as above. */
function taken(this: ServerResponse): void {
  const socket: Held = this.req.socket
  socket[CONVERSATION]?.taken()
}

/** Pauses again, because Node resumes a socket after each request that it has read and after each drain. */
function stayPaused(this: Held): void {
  if (this[CONVERSATION]?.full) this.pause()
}

/** The peer has closed its side, and then Node ours: an answer that is not read any more must not keep the socket. */
function ended(this: Socket): void {
  destroyLater(this)
}

/** All sockets of an HTTP server until they become streams. One interval checks all deadlines, as long as there are any. */
export class Conversations {
  readonly options: ConversationOptions
  readonly unsent: UnsentAnswers
  readonly #tickMs: number
  readonly #open = new Set<Conversation>()
  #waiting = 0
  #now = performance.now()
  #timer: NodeJS.Timeout | undefined

  constructor(server: Server, options: ConversationOptions) {
    this.options = options
    this.unsent = new UnsentAnswers(options.unsent)
    const { headersTimeoutMs, keepAliveTimeoutMs, answerTimeoutMs } = options
    this.#tickMs = Math.min(
      1000,
      Math.ceil(Math.min(headersTimeoutMs, keepAliveTimeoutMs, answerTimeoutMs) / 4),
    )
    server.on('connection', (socket: Held) => {
      this.#watch()
      const conversation = new Conversation(socket, this)
      this.#open.add(conversation)
      socket[CONVERSATION] = conversation
      socket.on('close', closed)
      socket.on('end', ended)
    })
    server.on('close', () => this.#rest())
  }

  /** The conversation on a socket; undefined if it has become a stream or is ending. */
  of(socket: Held): Conversation | undefined {
    return socket[CONVERSATION]
  }

  /** Ends every socket at once. */
  destroy(): void {
    for (const conversation of this.#open) conversation.socket.destroy()
  }

  /** A deadline at least `ms` from now. The clock is read once per tick, so it costs a request nothing. */
  after(ms: number): number {
    return this.#now + ms + this.#tickMs
  }

  /** Counts one more pipelined request. @returns false if too many wait */
  wait(): boolean {
    if (this.#waiting >= MAX_WAITING) return false
    this.#waiting++
    return true
  }

  waited(count: number): void {
    this.#waiting -= count
  }

  forget(conversation: Conversation): void {
    this.#open.delete(conversation)
    const socket: Held = conversation.socket
    socket[CONVERSATION] = undefined
  }

  #watch(): void {
    if (this.#timer !== undefined) return
    this.#now = performance.now()
    this.#timer = setInterval(() => this.#advance(), this.#tickMs).unref()
  }

  #rest(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  #advance(): void {
    if (this.#open.size === 0) this.#rest()
    this.#now = performance.now()
    for (const conversation of this.#open) if (conversation.deadline <= this.#now) conversation.overdue()
  }
}

/**
 * The requests and answers on one socket.
 *
 *     waiting ──a head is complete──▶ answering ──the answer was read──▶ waiting
 *        │                                │ ├────it is a stream──▶ left (to the hub)
 *        ╰──the deadline passes───────────┴─┴────it was the last──▶ left (ending)
 *
 * One request at a time: pipelined requests wait, and the socket is paused meanwhile. So a connection has at most one answer
 * in memory. A waiting socket has an absolute deadline, which only a complete head extends. An answer has a deadline too, so
 * that nobody can read it byte by byte for ever.
 */
export class Conversation {
  readonly socket: Socket
  /** On the clock of `Conversations`. */
  deadline: number
  readonly #all: Conversations
  #state: 'waiting' | 'answering' | 'left' = 'waiting'
  #queue: Exchange[] = []
  #pauses = false
  #unsent: UnsentAnswer | undefined
  /** The last text, sent after the answers to earlier requests; then the socket ends. */
  #lastWords: { readonly text: string | undefined } | undefined

  constructor(socket: Socket, all: Conversations) {
    this.socket = socket
    this.#all = all
    // Node answers a late first head with 408; this is for bytes that Node does not count as a head.
    this.deadline = all.after(all.options.headersTimeoutMs + 1000)
  }

  /** Takes a request. */
  receive(request: IncomingMessage, response: ServerResponse): void {
    if (this.#state === 'waiting') this.#begin(request, response)
    else this.#wait(request, response)
  }

  /** Takes an upgrade request, which has left the parser. @returns false if it cannot be answered */
  upgrade(): boolean {
    if (this.#state !== 'waiting') {
      // It was pipelined: an upgrade must wait for the earlier answers.
      this.leaveAfterAnswers()
      return false
    }
    this.#state = 'answering'
    this.deadline = Number.POSITIVE_INFINITY
    return true
  }

  /**
   * Checks that there is room for a long answer, before it is written.
   *
   * @throws GlimpseError `too_many_requests` if the user or the address has not read its earlier answers
   */
  admit(bytes: number, network: string, user: string | undefined): void {
    const whose = this.#all.unsent.exceeded(bytes, network, user)
    if (whose === undefined) return
    this.#all.options.onLimited('unsent_answers')
    throw new GlimpseError('too_many_requests', {
      detail: `This ${whose} does not take the answers it asks for.`,
      retryAfter: 1,
    })
  }

  /** The answer was written: from now on the client has a bounded time to read it. */
  answered(network: string, user: string | undefined): void {
    if (this.#state !== 'answering') return
    this.deadline = this.#all.after(this.#all.options.answerTimeoutMs)
    const bytes = this.socket.writableLength
    if (bytes === 0 || this.socket.destroyed) return
    this.#unsent = { bytes, network, user, drop: () => this.#drop('unsent_answers') }
    this.#all.unsent.hold(this.#unsent)
  }

  /** The socket becomes a stream: from now on the hub handles its bounds and its end. */
  stream(): void {
    const sentAhead = this.#queue.length > 0
    this.#leave()
    // Requests after a stream are ignored (RFC 9112 §9.6).
    if (sentAhead) endSocket(this.socket)
  }

  /** The next answer is the last one; further requests are ignored. */
  leaveAfterAnswer(): void {
    this.#lastWords = { text: undefined }
    this.#all.waited(this.#queue.length)
    this.#queue = []
    // Node calls it after an answer with `Connection: close`. Node's own would reset a connection that is still sending.
    this.socket.destroySoon = () => this.end()
  }

  /** Nothing more can be read: after the answers to earlier requests it sends the text and ends. */
  leaveAfterAnswers(text?: string): void {
    if (this.#lastWords !== undefined) return
    if (this.#state === 'answering') {
      this.#lastWords = { text }
      this.socket.pause()
    } else this.end(text)
  }

  /** Ends the socket at once. */
  end(lastWords?: string): void {
    this.#leave()
    endSocket(this.socket, lastWords)
  }

  /** Whether reading must stop until the client has read some answers. */
  get full(): boolean {
    return this.#queue.length > 0 || this.#lastWords !== undefined
  }

  /** The socket is closed. */
  close(): void {
    this.#leave()
  }

  /** The deadline has passed. */
  overdue(): void {
    if (this.#state === 'waiting') this.end()
    else this.#drop('answer_timeout')
  }

  #leave(): void {
    this.#state = 'left'
    this.#release()
    this.#all.forget(this)
    this.#all.waited(this.#queue.length)
    this.#queue = []
  }

  #drop(limit: 'answer_timeout' | 'unsent_answers'): void {
    this.#all.options.onLimited(limit)
    this.socket.destroy()
  }

  #begin(request: IncomingMessage, response: ServerResponse): void {
    this.#state = 'answering'
    this.deadline = Number.POSITIVE_INFINITY
    response.on('finish', taken)
    this.#all.options.answer(request, response, this)
  }

  #wait(request: IncomingMessage, response: ServerResponse): void {
    if (this.#lastWords !== undefined) return
    if (this.#queue.length >= MAX_PIPELINED || !this.#all.wait()) {
      this.#all.options.onLimited('pipelined_requests')
      // Node would keep each request of the chunk for as long as the socket lives.
      this.socket.destroy()
      return
    }
    this.#queue.push([request, response])
    if (!this.#pauses) {
      this.#pauses = true
      this.socket.on('resume', stayPaused)
    }
    this.socket.pause()
  }

  /** The client has read the answer: the next request is answered. */
  taken(): void {
    this.#release()
    if (this.#state !== 'answering') return
    const next = this.#queue.shift()
    if (next !== undefined) {
      this.#all.waited(1)
      if (this.#queue.length === 0) this.socket.resume()
      this.#begin(...next)
    } else if (this.#lastWords !== undefined) this.end(this.#lastWords.text)
    else {
      this.#state = 'waiting'
      this.deadline = this.#all.after(this.#all.options.keepAliveTimeoutMs)
    }
  }

  #release(): void {
    if (this.#unsent === undefined) return
    this.#all.unsent.release(this.#unsent)
    this.#unsent = undefined
  }
}
