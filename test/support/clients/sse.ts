import { type IncomingMessage, request } from 'node:http'
import { createParser } from 'eventsource-parser'
import { type OpenOptions, Rejected, TestStream } from './stream.ts'

/** Whatever carries the bytes, an SSE stream is read like this. */
export abstract class SseReader extends TestStream {
  /** The whole stream so far. */
  text = ''
  readonly retries: number[] = []
  readonly comments: string[] = []
  readonly #parser = createParser({
    onEvent: ({ id, event, data }) => this.receive(data, { id, event }),
    onRetry: (retry) => this.retries.push(retry),
    onComment: (comment) => this.comments.push(comment),
  })

  protected feed(chunk: string): void {
    this.text += chunk
    this.#parser.feed(chunk)
  }
}

/** SSE over plain node:http, so that nothing reconnects, buffers or interprets on the way. */
export class SseStream extends SseReader {
  readonly response: IncomingMessage

  constructor(response: IncomingMessage) {
    super()
    this.response = response
    response
      .setEncoding('utf8')
      .on('data', (chunk: string) => this.feed(chunk))
      .on('error', () => {}) // a cut connection; `close` follows
      .on('close', () => this.ended())
  }

  /** Stops reading from the socket: the kernel's buffers fill, then the server's. */
  pause(): void {
    this.response.pause()
  }

  resume(): void {
    this.response.resume()
  }

  override close(): void {
    this.response.destroy()
  }

  override cut(): void {
    this.response.socket.resetAndDestroy()
  }
}

export async function openSse(options: OpenOptions & { path?: string }): Promise<SseStream> {
  const response = await get(options)
  if (response.statusCode !== 200) {
    throw await Rejected.from(response)
  }
  return new SseStream(response).started()
}

function get({ url, token, lastEventId, headers, path = '/events' }: OpenOptions & { path?: string }) {
  return new Promise<IncomingMessage>((resolve, reject) => {
    request(new URL(path, url), {
      agent: false,
      headers: {
        accept: 'text/event-stream',
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(lastEventId === undefined ? {} : { 'last-event-id': lastEventId }),
        ...headers,
      },
    })
      .on('response', resolve)
      .on('error', reject)
      .end()
  })
}
