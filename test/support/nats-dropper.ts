import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

/** Stands before a NATS server and drops a part of the messages that it sends to clients. */
export class NatsDropper {
  readonly port: number
  /** Messages that passed, and that did not. */
  passed = 0
  dropped = 0
  readonly #server: Server
  readonly #sockets = new Set<Socket>()

  private constructor(server: Server, target: number, share: number) {
    this.#server = server
    this.port = (server.address() as AddressInfo).port
    server.on('connection', (client) => {
      const upstream = connect({ host: '127.0.0.1', port: target })
      const end = () => {
        client.destroy()
        upstream.destroy()
      }
      for (const socket of [client, upstream]) {
        this.#sockets.add(socket)
        socket.on('error', end).on('close', () => {
          this.#sockets.delete(socket)
          end()
        })
      }
      client.pipe(upstream)
      let rest: Buffer = Buffer.alloc(0)
      upstream.on('data', (chunk: Buffer) => {
        rest = this.#forward(Buffer.concat([rest, chunk]), client, share)
      })
    })
  }

  /** @param share from 0 to 1, of the messages to be dropped */
  static async start(target: number, share: number): Promise<NatsDropper> {
    const server = createServer({ noDelay: true })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return new NatsDropper(server, target, share)
  }

  async close(): Promise<void> {
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
  }

  /** @returns the beginning of what has not come whole yet */
  #forward(bytes: Buffer, client: Socket, share: number): Buffer {
    let start = 0
    for (;;) {
      const lineEnd = bytes.indexOf('\r\n', start)
      if (lineEnd === -1) return Buffer.from(bytes.subarray(start))
      const line = bytes.toString('latin1', start, lineEnd)
      // NATS client protocol: MSG <subject> <sid> [reply-to] <#bytes>␍␊[payload]␍␊
      const length = line.startsWith('MSG ') ? Number(line.slice(line.lastIndexOf(' ') + 1)) : undefined
      const end = length === undefined ? lineEnd + 2 : lineEnd + 2 + length + 2
      if (end > bytes.length) return Buffer.from(bytes.subarray(start))
      if (length !== undefined && Math.random() < share) this.dropped++
      else {
        if (length !== undefined) this.passed++
        client.write(Buffer.from(bytes.subarray(start, end)))
      }
      start = end
    }
  }
}
