import type { IncomingMessage } from 'node:http'
import { text } from 'node:stream/consumers'
import type { ControlMessage, GlimpseEvent } from '../../../src/event.ts'

export type Wire = GlimpseEvent | ControlMessage
export type WireType = Wire['type']
export type OfType<Type extends WireType> = Extract<Wire, { type: Type }>

/** One message as it came: its JSON text, the same parsed, and the fields of the SSE frame around it. */
export interface Received<Json extends Wire = Wire> {
  readonly raw: string
  readonly json: Json
  readonly sse?: { readonly id: string | undefined; readonly event: string | undefined }
}

/** How a stream ended: the WebSocket's close code and reason, where there is one. */
export interface Ending {
  readonly code?: number
  readonly reason?: string
}

export interface OpenOptions {
  readonly url: string
  readonly token?: string
  /** Resume after this cursor, in the way natural to the transport. */
  readonly lastEventId?: string
  readonly headers?: Record<string, string>
}

/** The server answered with plain HTTP instead of a stream. */
export class Rejected extends Error {
  readonly status: number
  readonly headers: Headers
  readonly body: string

  constructor(status: number, headers: Headers, body: string) {
    super(`rejected with ${status}: ${body}`)
    this.status = status
    this.headers = headers
    this.body = body
  }

  static async from(response: IncomingMessage): Promise<Rejected> {
    const headers = new Headers()
    for (const [name, values] of Object.entries(response.headersDistinct))
      for (const value of values ?? []) headers.append(name, value)
    return new Rejected(response.statusCode ?? 0, headers, await text(response))
  }
}

const PATIENCE_MS = 25_000

/** What every transport gives to a test: the messages in order, and ways to wait for them and for the end. */
export abstract class TestStream {
  readonly messages: Received[] = []
  readonly closed: Promise<Ending>
  #ended = false
  #read = 0
  #wake = () => {}
  #end: (ending: Ending) => void = () => {}

  constructor() {
    this.closed = new Promise((resolve) => {
      this.#end = resolve
    })
  }

  /** Ends the stream politely, from this side. */
  abstract close(): void

  /** Cuts the connection as a lost network does. */
  abstract cut(): void

  get events(): Received<GlimpseEvent>[] {
    return this.messages.filter(isEvent)
  }

  get seqs(): number[] {
    return this.events.map(({ json }) => json.seq)
  }

  /** The place to resume from: the cursor of the last message that has one. */
  get cursor(): string {
    const cursor = this.messages.map(cursorOf).findLast((found) => found !== undefined)
    if (cursor === undefined) throw new Error('no cursor was received')
    return cursor
  }

  /** The next unread message, of the given type where one is given; those before it are passed over. */
  async next<Type extends WireType>(type?: Type, timeoutMs = PATIENCE_MS): Promise<Received<OfType<Type>>> {
    const deadline = Date.now() + timeoutMs
    for (;;) {
      while (this.#read < this.messages.length) {
        const message = this.messages[this.#read]
        this.#read += 1
        if (message !== undefined && isOfType(message, type)) return message
      }
      await this.#arrival(deadline, type ?? 'a message')
    }
  }

  /** The next `count` events; a reset or a close among them is a failure. */
  async take(count: number, timeoutMs = PATIENCE_MS): Promise<Received<GlimpseEvent>[]> {
    const deadline = Date.now() + timeoutMs
    const taken: Received<GlimpseEvent>[] = []
    while (taken.length < count) {
      const message = await this.next(undefined, deadline - Date.now())
      if (isEvent(message)) taken.push(message)
      else if (message.json.type !== 'stream.open')
        throw new Error(`${message.raw} after ${taken.length} of ${count} events`)
    }
    return taken
  }

  /** Resolves once anything was received, without reading it. */
  async started(): Promise<this> {
    const deadline = Date.now() + PATIENCE_MS
    while (this.messages.length === 0) await this.#arrival(deadline, 'the first message')
    return this
  }

  protected receive(raw: string, sse?: Received['sse']): void {
    this.messages.push({ raw, json: JSON.parse(raw), ...(sse === undefined ? {} : { sse }) })
    this.#wake()
  }

  protected ended(ending: Ending = {}): void {
    this.#ended = true
    this.#end(ending)
    this.#wake()
  }

  async #arrival(deadline: number, awaited: string): Promise<void> {
    const seen = () => `received: ${this.messages.map(({ raw }) => raw).join('\n') || 'nothing'}`
    if (this.#ended) throw new Error(`the stream ended before ${awaited} came; ${seen()}`)
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`${awaited} did not come in time; ${seen()}`)),
        deadline - Date.now(),
      )
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }
}

export function isEvent(message: Received): message is Received<GlimpseEvent> {
  return 'seq' in message.json
}

function isOfType<Type extends WireType>(
  message: Received,
  type: Type | undefined,
): message is Received<OfType<Type>> {
  return type === undefined || message.json.type === type
}

function cursorOf({ json }: Received): string | undefined {
  if ('seq' in json) return json.id
  // That of stream.read is another place.
  return json.type === 'stream.open' || json.type === 'stream.reset' ? json.data.cursor : undefined
}
