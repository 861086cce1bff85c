import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import postgres, { type Sql } from 'postgres'
import type { Instance } from './instance.ts'
import { signToken } from './token.ts'

/** A stream of the protocol: one user's stream, of a type of content that only the front knows. */
interface Stream {
  readonly token: string
  readonly user: string
  readonly contentType: string
}

/** What an appended message is in the log: as text, because its bytes must come back as they were. */
interface Appended {
  readonly data: { readonly content: string }
}

/**
 * The half of the Durable Streams protocol that the service leaves out, for its conformance tests alone: streams are
 * created here and appended to by SQL. Reads are the service's own: status, headers and framing go through as they are,
 * and only the payload of the events is put in the place of the events.
 */
export class DurableFront {
  readonly #server: Server
  readonly #instance: Instance
  readonly #sql: Sql
  readonly #streams = new Map<string, Stream>()
  #created = 0

  private constructor(instance: Instance) {
    this.#instance = instance
    this.#sql = postgres(instance.database.url, { max: 4 })
    this.#server = createServer((request, response) => {
      this.#answer(request, response).catch((error) => {
        if (response.headersSent) response.destroy()
        else response.writeHead(500).end(String(error))
      })
    })
  }

  static async before(instance: Instance): Promise<DurableFront> {
    const front = new DurableFront(instance)
    front.#server.listen(0, '127.0.0.1')
    await once(front.#server, 'listening')
    return front
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  async close(): Promise<void> {
    this.#server.close()
    this.#server.closeAllConnections()
    await this.#sql.end()
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, search } = new URL(request.url ?? '/', this.url)
    const contentType = request.headers['content-type'] ?? 'application/octet-stream'
    if (request.method === 'PUT') {
      const stream = this.#streams.get(pathname) ?? (await this.#create(pathname, contentType))
      const body = await buffer(request)
      if (body.length > 0) await this.#append(stream, body)
      const headers = { location: `${this.url}${pathname}`, 'content-type': contentType }
      response.writeHead(201, { ...headers, 'stream-next-offset': await this.#tail(stream) }).end()
      return
    }
    const stream = this.#streams.get(pathname)
    if (stream === undefined && request.method !== 'OPTIONS') {
      response.writeHead(404, { 'x-content-type-options': 'nosniff' }).end()
    } else if (request.method === 'POST' && stream !== undefined) {
      if (!(await this.#append(stream, await buffer(request)))) {
        response.writeHead(413).end()
        return
      }
      response.writeHead(204, { 'stream-next-offset': await this.#tail(stream) }).end()
    } else await this.#read(stream, request, response, search)
  }

  async #create(path: string, contentType: string): Promise<Stream> {
    const user = `stream-${++this.#created}`
    const stream = { user, contentType: contentType.toLowerCase(), token: await signToken(user) }
    this.#streams.set(path, stream)
    return stream
  }

  /**
   * One event a message; in JSON mode an array is so many messages (§7.1). An event has at most 64 KiB: bytes go into as
   * many events as they need, a longer message is refused.
   */
  async #append({ user, contentType }: Stream, body: Buffer): Promise<boolean> {
    const parts = Array.from({ length: Math.ceil(body.length / PART_BYTES) }, (_, i) =>
      body.subarray(i * PART_BYTES, (i + 1) * PART_BYTES),
    )
    let contents = parts.map((part) => part.toString('base64'))
    if (isJson(contentType)) {
      const value: unknown = JSON.parse(body.toString())
      contents = (Array.isArray(value) ? value : [value]).map((each) => JSON.stringify(each))
      if (contents.some((content) => Buffer.byteLength(content) > PART_BYTES)) return false
    }
    await this.#sql`
      select glimpse.append(variadic array_agg(
               (${user}, 'test.appended', jsonb_build_object('content', content), now())::glimpse.new_event order by nth))
        from unnest(${contents}::text[]) with ordinality as each (content, nth)
      having count(*) > 0`
    return true
  }

  async #tail({ token }: Stream): Promise<string> {
    const headers = { authorization: `Bearer ${token}` }
    const response = await fetch(`${this.#instance.url}/me/stream`, { method: 'HEAD', headers })
    return response.headers.get('stream-next-offset') ?? ''
  }

  async #read(
    stream: Stream | undefined,
    { method = 'GET', headers }: IncomingMessage,
    response: ServerResponse,
    search: string,
  ): Promise<void> {
    const sent: Record<string, string> =
      stream === undefined ? {} : { authorization: `Bearer ${stream.token}` }
    for (const name of ['if-none-match', 'origin', 'access-control-request-headers'])
      if (typeof headers[name] === 'string') sent[name] = headers[name]
    const controller = new AbortController()
    response.on('close', () => controller.abort())
    const answer = await fetch(`${this.#instance.url}/me/stream${search}`, {
      method,
      headers: sent,
      signal: controller.signal,
    })
    const isPage = answer.headers.get('content-type') === 'application/json'
    const received = Object.fromEntries(answer.headers)
    if (isPage && stream !== undefined) received['content-type'] = stream.contentType
    const { connection: _, 'content-length': __, 'transfer-encoding': ___, ...kept } = received
    response.writeHead(answer.status, kept)
    if (method === 'HEAD' || answer.body === null || stream === undefined) {
      response.end()
    } else if (answer.headers.get('content-type') === 'text/event-stream') {
      await relay(answer.body, response, stream.contentType).catch(() => response.destroy())
    } else {
      const body = await answer.text()
      response.end(isPage ? payloadOf(body, stream.contentType) : body)
    }
  }
}

const PART_BYTES = 32_768

function isJson(contentType: string): boolean {
  return contentType.startsWith('application/json')
}

function payloadOf(events: string, contentType: string): Buffer {
  const contents = (JSON.parse(events) as Appended[]).map(({ data }) => data.content)
  if (isJson(contentType)) return Buffer.from(`[${contents.join(',')}]`)
  return Buffer.concat(contents.map((content) => Buffer.from(content, 'base64')))
}

/** Frame by frame; in a message of data the payload takes the place of the events. */
async function relay(
  body: ReadableStream<Uint8Array>,
  response: ServerResponse,
  contentType: string,
): Promise<void> {
  const decoder = new TextDecoder()
  let text = ''
  for await (const chunk of body) {
    text += decoder.decode(chunk, { stream: true })
    const frames = text.split('\n\n')
    text = frames.pop() ?? ''
    for (const frame of frames) {
      const [, events] = /^event: data\ndata:(.*)$/.exec(frame) ?? []
      const lines = events === undefined ? [] : payloadOf(events, contentType).toString().split('\n')
      response.write(
        `${events === undefined ? frame : `event: data\n${lines.map((line) => `data:${line}`).join('\n')}`}\n\n`,
      )
    }
  }
  response.end()
}
