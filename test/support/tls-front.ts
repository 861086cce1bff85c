import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { createSecureContext, TLSSocket } from 'node:tls'

/** Whether a certificate can be made here. */
export const hasOpenssl = spawnSync('openssl', ['version']).status === 0

/** Before Postgres, what `ssl = on` is in it: each connection asks for TLS and gets it. */
export class TlsFront {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()

  private constructor(target: { readonly host: string; readonly port: number }) {
    const context = createSecureContext(makeCertificate())
    this.#server = createServer((client) => {
      // SSLRequest: eight bytes, answered by one.
      client.once('data', () => {
        client.write('S')
        const secured = new TLSSocket(client, { isServer: true, secureContext: context })
        const server = connect({ ...target, noDelay: true })
        for (const [from, to] of [
          [secured, server],
          [server, secured],
        ] as const) {
          this.#sockets.add(from)
          from.on('error', () => to.destroy()).on('close', () => to.destroy())
          from.pipe(to)
        }
      })
      client.on('error', () => {})
    })
  }

  static async start(target: { readonly host: string; readonly port: number }): Promise<TlsFront> {
    const front = new TlsFront(target)
    front.#server.listen(0, '127.0.0.1')
    await once(front.#server, 'listening')
    return front
  }

  /** The same URL by way of this front, with TLS. */
  urlFor(url: string): string {
    const { port } = this.#server.address() as AddressInfo
    const own = Object.assign(new URL(url), { host: `127.0.0.1:${port}` })
    own.searchParams.set('sslmode', 'require')
    return own.href
  }

  async close(): Promise<void> {
    const closed = once(this.#server, 'close')
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }
}

/** For a day. */
function makeCertificate(): { readonly key: Buffer; readonly cert: Buffer } {
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256']
  const { status, stdout } = spawnSync('openssl', [
    'req',
    '-x509',
    ...curve,
    '-nodes',
    '-keyout',
    '-',
    '-days',
    '1',
    '-subj',
    '/CN=localhost',
  ])
  if (status !== 0) throw new Error('openssl could not make a certificate')
  return { key: stdout, cert: stdout }
}
