import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

/**
 * Before Postgres, what a transaction pooler is to LISTEN: the statement succeeds, everything else works, and no
 * notification ever arrives.
 */
export class DeafPooler {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #swallowed = 0

  private constructor(target: { readonly host: string; readonly port: number }) {
    this.#server = createServer({ noDelay: true }, (client) => {
      const server = connect({ ...target, noDelay: true })
      const filter = new AnswerFilter(() => this.#swallowed++)
      for (const [from, to] of [
        [client, server],
        [server, client],
      ] as const) {
        this.#sockets.add(from)
        from.on('error', () => to.destroy()).on('close', () => this.#sockets.delete(from))
      }
      client.on('data', (bytes: Buffer) => filter.ask(bytes))
      client.pipe(server)
      server.on('data', (bytes: Buffer) => {
        for (const passed of filter.pass(bytes)) client.write(passed)
      })
      server.on('close', () => client.end())
      client.on('close', () => server.destroy())
    })
  }

  static async start(target: { readonly host: string; readonly port: number }): Promise<DeafPooler> {
    const pooler = new DeafPooler(target)
    pooler.#server.listen(0, '127.0.0.1')
    await once(pooler.#server, 'listening')
    return pooler
  }

  /** Notifications that did not pass. */
  get swallowed(): number {
    return this.#swallowed
  }

  /** The same URL by way of this pooler. */
  urlFor(url: string): string {
    const { port } = this.#server.address() as AddressInfo
    return Object.assign(new URL(url), { host: `127.0.0.1:${port}` }).href
  }

  async close(): Promise<void> {
    const closed = once(this.#server, 'close')
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }
}

/** PostgreSQL manual, "Message Formats": SSLRequest and GSSENCRequest. */
const ENCRYPTION_REQUESTS: ReadonlySet<number> = new Set([80_877_103, 80_877_104])
const NOTIFICATION_RESPONSE = 'A'.charCodeAt(0)
/** A type byte, and a length that counts itself and what follows. */
const HEADER_BYTES = 5

/** Lets a server's messages pass, whole or in pieces as they come, but for NotificationResponse. */
export class AnswerFilter {
  readonly #onSwallowed: () => void
  #header = Buffer.alloc(0)
  /** What is still to come of the message under way, and whether it passes. */
  #left = 0
  #passes = true
  #plainBytes = 0

  constructor(onSwallowed: () => void = () => {}) {
    this.#onSwallowed = onSwallowed
  }

  /** Sees what the client sends: a request for encryption is answered by one byte that is no message. */
  ask(bytes: Buffer): void {
    if (bytes.length === 8 && bytes.readInt32BE(0) === 8 && ENCRYPTION_REQUESTS.has(bytes.readInt32BE(4)))
      this.#plainBytes++
  }

  /** What of these bytes may pass. */
  pass(bytes: Buffer): Buffer[] {
    const passed: Buffer[] = []
    for (let at = 0; at < bytes.length; ) {
      if (this.#plainBytes > 0) {
        this.#plainBytes--
        passed.push(bytes.subarray(at, ++at))
      } else if (this.#left > 0) {
        const part = bytes.subarray(at, at + this.#left)
        if (this.#passes) passed.push(part)
        this.#left -= part.length
        at += part.length
      } else {
        const part = bytes.subarray(at, at + HEADER_BYTES - this.#header.length)
        this.#header = Buffer.concat([this.#header, part])
        at += part.length
        if (this.#header.length < HEADER_BYTES) break
        this.#begin(this.#header)
        if (this.#passes) passed.push(this.#header)
        this.#header = Buffer.alloc(0)
      }
    }
    return passed
  }

  #begin(header: Buffer): void {
    this.#passes = header[0] !== NOTIFICATION_RESPONSE
    this.#left = header.readInt32BE(1) - 4
    if (!this.#passes) this.#onSwallowed()
  }
}
