import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

/** Before Postgres: what it answers is changed on the way, chunk by chunk. */
export class RewritingProxy {
  readonly #server
  readonly #sockets = new Set<Socket>()

  private constructor(target: URL, rewrite: (bytes: Buffer) => Buffer) {
    this.#server = createServer((client) => {
      const server = connect({ host: target.hostname, port: Number(target.port) })
      for (const [from, to] of [
        [client, server],
        [server, client],
      ] as const) {
        this.#sockets.add(from)
        from.on('error', () => to.destroy()).on('close', () => to.destroy())
      }
      client.pipe(server)
      server.on('data', (bytes: Buffer) => client.write(rewrite(bytes)))
    })
  }

  static async start(url: string, rewrite: (bytes: Buffer) => Buffer): Promise<RewritingProxy> {
    const proxy = new RewritingProxy(new URL(url), rewrite)
    proxy.#server.listen(0, '127.0.0.1')
    await once(proxy.#server, 'listening')
    return proxy
  }

  /** The same URL by way of this proxy. */
  urlFor(url: string): string {
    return Object.assign(new URL(url), {
      host: `127.0.0.1:${(this.#server.address() as AddressInfo).port}`,
    }).href
  }

  close(): void {
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
  }
}
