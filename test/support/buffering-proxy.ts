import { once } from 'node:events'
import { createServer, request, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'

/** A proxy of the kind that breaks streams: it hands an answer on when it has all of it, and knows no upgrades. */
export class BufferingProxy {
  readonly url: string
  /** The paths asked for, in order; `upgrade` before those that were refused one. */
  readonly asked: string[] = []
  readonly #server: Server

  private constructor(server: Server) {
    this.#server = server
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  }

  static async start(target: string): Promise<BufferingProxy> {
    const server = createServer()
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const proxy = new BufferingProxy(server)
    server.on('request', (incoming, outgoing) => {
      const { method = 'GET', url = '/', headers } = incoming
      proxy.asked.push(url.replace(/\?.*/, ''))
      const forwarded = request(new URL(url, target), {
        method,
        headers: { ...headers, connection: 'close' },
      })
      incoming.pipe(forwarded)
      forwarded.on('response', (answer) => {
        const chunks: Buffer[] = []
        answer.on('data', (chunk) => chunks.push(chunk))
        answer.on('error', () => outgoing.destroy())
        answer.on('end', () => {
          outgoing.writeHead(answer.statusCode ?? 502, answer.headers)
          outgoing.end(Buffer.concat(chunks))
        })
      })
      forwarded.on('error', () => outgoing.destroy())
      outgoing.on('close', () => forwarded.destroy())
    })
    server.on('upgrade', (incoming, socket) => {
      proxy.asked.push(`upgrade ${incoming.url?.replace(/\?.*/, '')}`)
      socket.end('HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\nContent-Length: 0\r\n\r\n')
    })
    return proxy
  }

  async close(): Promise<void> {
    const closed = once(this.#server, 'close')
    this.#server.close()
    this.#server.closeAllConnections()
    await closed
  }
}
