import type { ConnectOptions, WebSocketLike } from '../../src/client/index.ts'

/** A JWT whose signature nobody checks. */
export function jwt(claims: Readonly<Record<string, unknown>>): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  return `${part({ alg: 'none' })}.${part(claims)}.x`
}

interface Connection {
  readonly user: string
  send(message: object): void
  end(): void
}

/**
 * Glimpse in memory, for tests whose clock is not the real one: the streams of users over SSE, WebSocket and poll, as far
 * as the client sees them. What it does wrong is said by the test, in `refuse` and `intercept`.
 */
export class FakeService {
  /** What was asked for, such as `GET /events?last_event_id=e.3`, without tokens. */
  readonly asked: string[] = []
  readonly #events = new Map<string, object[]>()
  readonly #connections = new Set<Connection>()
  readonly #tickets: string[] = []
  /** The status that a token gets instead of a stream. */
  refuse: (token: string) => number | undefined = () => undefined
  /** Whatever it gives is the answer. */
  intercept: (request: string, init: RequestInit) => Response | Promise<Response> | undefined = () =>
    undefined
  heartbeatMs = 15_000
  /** Sends neither heartbeats nor pongs: the connection is there, and nobody at its other end. */
  silent = false
  /** What users have read. */
  readonly read = new Map<string, number>()

  get options(): Pick<ConnectOptions, 'url' | 'fetch' | 'WebSocket'> {
    return { url: 'http://service.test', fetch: this.fetch, WebSocket: this.webSocket() }
  }

  get open(): number {
    return this.#connections.size
  }

  /** The user's next events happen. */
  make(user: string, count = 1, type = 'story.viewed'): void {
    for (let i = 0; i < count; i++) {
      const events = this.#of(user)
      const seq = events.length + 1
      const event = { id: `e.${seq}.c${user}`, seq, type, data: { viewer_id: 'bob' }, timestamp: '' }
      events.push(event)
      for (const connection of this.#connections) if (connection.user === user) connection.send(event)
    }
  }

  /** Every connection is lost. */
  cut(): void {
    for (const connection of [...this.#connections]) connection.end()
  }

  /** Says something on every connection. */
  say(message: object): void {
    for (const connection of [...this.#connections]) connection.send(message)
  }

  readonly fetch: typeof fetch = async (input, init = {}) => {
    const url = new URL(String(input))
    const headers = new Headers(init.headers)
    const request = `${init.method ?? 'GET'} ${url.pathname}${url.search}`
    this.asked.push(request)
    const intercepted = await this.intercept(request, init)
    if (intercepted !== undefined) return intercepted
    const token = headers.get('authorization')?.slice(7) ?? ''
    const user = userOf(token)
    const status = this.refuse(token) ?? (user === undefined ? 401 : undefined)
    if (status !== undefined || user === undefined) return problem(status ?? 401)
    if (url.pathname === '/tickets') {
      this.#tickets.push(user)
      return Response.json({ ticket: `t${this.#tickets.length}` }, { status: 201 })
    }
    if (url.pathname === '/me/read') {
      this.read.set(user, Number(JSON.parse(String(init.body)).cursor.split('.')[1]))
      return Response.json({ cursor: `e.${this.read.get(user)}`, unread: this.#unread(user) })
    }
    if (headers.get('accept') === 'application/json') return this.#page(user, url.searchParams.get('after'))
    return this.#stream(user, url.searchParams.get('last_event_id'), init.signal)
  }

  /** A WebSocket class that is connected to this service. */
  webSocket(): NonNullable<ConnectOptions['WebSocket']> {
    const service = this
    return class implements WebSocketLike {
      onopen: WebSocketLike['onopen'] = null
      onmessage: WebSocketLike['onmessage'] = null
      onclose: WebSocketLike['onclose'] = null
      onerror: WebSocketLike['onerror'] = null
      readyState = 0
      #connection: Connection | undefined

      constructor(address: string) {
        const url = new URL(address)
        const user = service.#tickets[Number(url.searchParams.get('ticket')?.slice(1)) - 1] ?? ''
        service.asked.push(`GET /ws after ${url.searchParams.get('last_event_id')}`)
        queueMicrotask(() => {
          if (this.readyState !== 0) return
          this.readyState = 1
          this.onopen?.({} as never)
          this.#connection = {
            user,
            send: (message) => this.onmessage?.({ data: JSON.stringify(message) } as never),
            end: () => this.#ended(1006),
          }
          service.#greet(this.#connection, url.searchParams.get('last_event_id'))
        })
      }

      send(text: string) {
        const { type } = JSON.parse(text)
        service.asked.push(`ws ${type}`)
        if (type === 'ping' && !service.silent)
          this.onmessage?.({ data: '{"type":"stream.pong","data":{}}' } as never)
      }

      close(code = 1000) {
        if (this.readyState < 2) this.#ended(code)
      }

      #ended(code: number) {
        this.readyState = 3
        if (this.#connection !== undefined) service.#connections.delete(this.#connection)
        queueMicrotask(() => this.onclose?.({ code, reason: '' } as never))
      }
    }
  }

  #of(user: string): object[] {
    const events = this.#events.get(user) ?? []
    this.#events.set(user, events)
    return events
  }

  #unread(user: string): number {
    return this.#of(user).length - (this.read.get(user) ?? 0)
  }

  #after(user: string, after: string | null): object[] {
    return after === null ? [] : this.#of(user).slice(after === '0' ? 0 : Number(after.split('.')[1]))
  }

  #greet(connection: Connection, after: string | null): void {
    const { user } = connection
    const events = this.#after(user, after)
    const cursor = `e.${this.#of(user).length - events.length}.c${user}`
    const read = `e.${this.read.get(user) ?? 0}`
    const data = { cursor, oldest: 1, resumed: after !== null, heartbeat_ms: this.heartbeatMs, read }
    this.#connections.add(connection)
    connection.send({ type: 'stream.open', data: { ...data, unread: this.#unread(user) } })
    for (const event of events) connection.send(event)
  }

  #page(user: string, after: string | null): Response {
    return Response.json({
      events: this.#after(user, after),
      cursor: `e.${this.#of(user).length}.c${user}`,
      has_more: false,
      reset: null,
      read: `e.${this.read.get(user) ?? 0}`,
      unread: this.#unread(user),
    })
  }

  #stream(user: string, after: string | null, signal: AbortSignal | null | undefined): Response {
    let connection: Connection | undefined
    const gone = () => {
      if (connection !== undefined) this.#connections.delete(connection)
    }
    const encoder = new TextEncoder()
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        const heartbeat = setInterval(() => {
          if (!this.silent) controller.enqueue(encoder.encode(':\n\n'))
        }, this.heartbeatMs)
        const end = (how: () => void) => {
          clearInterval(heartbeat)
          gone()
          how()
        }
        signal?.addEventListener('abort', () => end(() => controller.error(signal.reason)), { once: true })
        connection = {
          user,
          send: (message) => controller.enqueue(encoder.encode(`data: ${JSON.stringify(message)}\n\n`)),
          end: () => end(() => controller.close()),
        }
        this.#greet(connection, after)
      },
      cancel: gone,
    })
    return new Response(body, { headers: { 'content-type': 'text/event-stream' } })
  }
}

/** A refusal as the service words it. */
export function problem(status: number, headers: Readonly<Record<string, string>> = {}): Response {
  return new Response(JSON.stringify({ title: `status ${status}` }), {
    status,
    headers: { 'content-type': 'application/problem+json', ...headers },
  })
}

function userOf(token: string): string | undefined {
  try {
    return JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()).sub
  } catch {
    return undefined
  }
}
