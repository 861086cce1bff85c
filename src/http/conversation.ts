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
  /** A bound was met: too many requests sent ahead, an answer not taken in time, or too much that is not taken. */
  readonly onLimited: (limit: 'pipelined_requests' | 'answer_timeout' | 'unsent_answers') => void
  /** Answers a request; called with the next only after the answer to the last was taken. */
  readonly answer: (request: IncomingMessage, response: ServerResponse, conversation: Conversation) => void
}

type Exchange = readonly [IncomingMessage, ServerResponse]

/** A chunk as Node reads it, 64 KiB, holds fewer requests than this unless they carry no token. */
const MAX_PIPELINED = 512
/** Requests that wait on all sockets; each holds some 2 kB. */
const MAX_WAITING = 8192

const CONVERSATION = Symbol('conversation')
type Held = Socket & { [CONVERSATION]?: Conversation | undefined }

/** One for all sockets: a stream must not keep the conversation that it began as. */
function closed(this: Held): void {
  this[CONVERSATION]?.close()
}

/** The kernel has the whole answer. One for all responses, as above. */
function taken(this: ServerResponse): void {
  const socket: Held = this.req.socket
  socket[CONVERSATION]?.taken()
}

/** Node resumes a socket after each request that it has read, and whenever the socket has drained. */
function stayPaused(this: Held): void {
  if (this[CONVERSATION]?.full) this.pause()
}

/** The peer closed its side, and Node then ours: what it does not read any more must not keep the socket. */
function ended(this: Socket): void {
  destroyLater(this)
}

/** Every socket of an HTTP server until it becomes a stream; one interval serves all of their deadlines. */
export class Conversations {
  readonly options: ConversationOptions
  readonly unsent: UnsentAnswers
  readonly #tickMs: number
  readonly #open = new Set<Conversation>()
  #waiting = 0
  #now = performance.now()

  constructor(server: Server, options: ConversationOptions) {
    this.options = options
    this.unsent = new UnsentAnswers(options.unsent)
    const { headersTimeoutMs, keepAliveTimeoutMs, answerTimeoutMs } = options
    this.#tickMs = Math.min(
      1000,
      Math.ceil(Math.min(headersTimeoutMs, keepAliveTimeoutMs, answerTimeoutMs) / 4),
    )
    server.on('connection', (socket: Held) => {
      const conversation = new Conversation(socket, this)
      this.#open.add(conversation)
      socket[CONVERSATION] = conversation
      socket.on('close', closed)
      socket.on('end', ended)
    })
    const timer = setInterval(() => this.#advance(), this.#tickMs).unref()
    server.on('close', () => clearInterval(timer))
  }

  /** What is being said on a socket of this server; undefined where it became a stream or is ending. */
  of(socket: Held): Conversation | undefined {
    return socket[CONVERSATION]
  }

  /** Ends every socket at once. */
  destroy(): void {
    for (const conversation of this.#open) conversation.socket.destroy()
  }

  /** A time on the clock of `overdue`, at least `ms` from now. Read once a tick, the clock costs a request nothing. */
  after(ms: number): number {
    return this.#now + ms + this.#tickMs
  }

  /** Takes a place for a request that waits for the answer to the one before. */
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

  #advance(): void {
    this.#now = performance.now()
    for (const conversation of this.#open) if (conversation.deadline <= this.#now) conversation.overdue()
  }
}

/**
 * One socket, and what is said on it: a request, its answer, the next request.
 *
 *     waiting ──a head is complete──▶ answering ──the answer was taken──▶ waiting
 *        │                                │ ├────it is a stream──▶ left (to the hub)
 *        ╰──the deadline passes───────────┴─┴────it was the last──▶ left (ending)
 *
 * One request at a time: those sent ahead wait, and the socket is paused meanwhile. So a connection never holds more
 * than one answer, however much is asked on it. A waiting socket has an absolute deadline, which no byte extends but the
 * last one of a head; an answer has one too, so that nobody can take it byte by byte for ever.
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
  /** What is said once the requests before it are answered, and then the socket ends. */
  #lastWords: { readonly text: string | undefined } | undefined

  constructor(socket: Socket, all: Conversations) {
    this.socket = socket
    this.#all = all
    // Node answers a late first head 408; this is for what it takes for none.
    this.deadline = all.after(all.options.headersTimeoutMs + 1000)
  }

  /** A request came. */
  receive(request: IncomingMessage, response: ServerResponse): void {
    if (this.#state === 'waiting') this.#begin(request, response)
    else this.#wait(request, response)
  }

  /** A request left the parser to become a stream of its own kind. @returns false where it can't be answered */
  upgrade(): boolean {
    if (this.#state !== 'waiting') {
      // It was sent ahead: who asks for another protocol must wait for the answers before.
      this.leaveAfterAnswers()
      return false
    }
    this.#state = 'answering'
    this.deadline = Number.POSITIVE_INFINITY
    return true
  }

  /**
   * Asks for room for a long answer, before it is written.
   *
   * @throws GlimpseError `too_many_requests` where the user or the address has not taken its earlier answers
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

  /** The answer was handed over: from now on the peer has a bounded time to take it. */
  answered(network: string, user: string | undefined): void {
    if (this.#state !== 'answering') return
    this.deadline = this.#all.after(this.#all.options.answerTimeoutMs)
    const bytes = this.socket.writableLength
    if (bytes === 0 || this.socket.destroyed) return
    this.#unsent = { bytes, network, user, drop: () => this.#drop('unsent_answers') }
    this.#all.unsent.hold(this.#unsent)
  }

  /** The socket is a stream from now on: the hub sees to its bounds and its end. */
  stream(): void {
    const sentAhead = this.#queue.length > 0
    this.#leave()
    // Nothing behind a stream is carried out (RFC 9112 §9.6).
    if (sentAhead) endSocket(this.socket)
  }

  /** The answer that is about to be written is the last one: nothing behind it is carried out. */
  leaveAfterAnswer(): void {
    this.#lastWords = { text: undefined }
    this.#all.waited(this.#queue.length)
    this.#queue = []
    // Node calls it after an answer with `Connection: close`; its own would reset whoever still sends.
    this.socket.destroySoon = () => this.end()
  }

  /** Nothing more can be read here: says why once the requests before are answered, and ends. */
  leaveAfterAnswers(text?: string): void {
    if (this.#lastWords !== undefined) return
    if (this.#state === 'answering') {
      this.#lastWords = { text }
      this.socket.pause()
    } else this.end(text)
  }

  /** Ends the socket, whatever is under way. */
  end(lastWords?: string): void {
    this.#leave()
    endSocket(this.socket, lastWords)
  }

  /** Whether nothing more may be read before some answers were taken. */
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
      // Not only left unanswered: Node would keep each request of the chunk for as long as the socket lives.
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

  /** The answer was taken: the next one's turn has come. */
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
