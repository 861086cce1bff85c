import { Agent, request } from 'node:http'

/** A request as the fuzzer makes it. */
export interface FuzzRequest {
  readonly method: string
  /** The request-target, with its query. */
  readonly target: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
}

export interface FuzzReply {
  readonly status: number
  readonly headers: Headers
  /** The whole body; of a stream what came before its second message. */
  readonly text: string
}

/** Sends fuzzed requests to one instance; a stream or an upgrade is left as soon as it has begun. */
export class FuzzClient {
  readonly #url: URL
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 16 })

  constructor(url: string) {
    this.#url = new URL(url)
  }

  /** Rejects where no answer comes, for instance because the connection was cut. */
  send({ method, target, headers, body }: FuzzRequest): Promise<FuzzReply> {
    const { hostname, port } = this.#url
    const streams = target.startsWith('/events') || target.startsWith('/ws')
    return new Promise((resolve, reject) => {
      const sending = request({
        hostname,
        port,
        method,
        path: target,
        agent: streams ? false : this.#agent,
        headers: { ...headers, ...(body.length === 0 ? {} : { 'content-length': body.length }) },
        timeout: 20_000,
      })
      sending
        .on('error', reject)
        .on('timeout', () => sending.destroy(new Error(`no answer to ${method} ${target}`)))
        .on('upgrade', (response, socket) => {
          socket.on('error', () => {}).destroy()
          resolve({
            status: response.statusCode ?? 0,
            headers: headersOf(response.headersDistinct),
            text: '',
          })
        })
        .on('response', (response) => {
          const reply = (text: string) =>
            resolve({ status: response.statusCode ?? 0, headers: headersOf(response.headersDistinct), text })
          let text = ''
          const isStream = response.headers['content-type']?.startsWith('text/event-stream')
          response
            .setEncoding('utf8')
            .on('data', (chunk: string) => {
              text += chunk
              if (!isStream || !text.includes('event: stream.open')) return
              reply(text)
              response.destroy()
            })
            .on('end', () => reply(text))
            .on('error', reject)
        })
      sending.end(body)
    })
  }

  close(): void {
    this.#agent.destroy()
  }
}

function headersOf(distinct: NodeJS.Dict<string[]>): Headers {
  return new Headers(
    Object.entries(distinct).flatMap(([name, values = []]) =>
      values.map((value) => [name, value] as [string, string]),
    ),
  )
}
