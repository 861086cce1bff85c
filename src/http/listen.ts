import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { StartError } from '../errors.ts'

/**
 * Connections that wait for accept(), bounded by the kernel too (`net.core.somaxconn`). Past it the kernel drops handshakes,
 * and clients retry only after 1, 3, 7 … seconds: with Node's default of 511, a flood or a crowd that reconnects at once keeps
 * everybody out for a minute.
 */
const BACKLOG = 8192

/**
 * Resolves to the URL on which the server listens.
 *
 * @param variable the variable of the port
 * @throws StartError
 */
export function listen(server: Server, variable: string, host: string, port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const taken = `port ${port} on ${host} is in use by another process; set ${variable} to another value`
      const other = `HOST, ${variable}: cannot listen on ${host}:${port}: ${error.code ?? error.message}`
      reject(new StartError(error.code === 'EADDRINUSE' ? taken : other, { cause: error }))
    })
    server.listen({ port, host, backlog: BACKLOG }, () => {
      const address = server.address() as AddressInfo
      const name = address.family === 'IPv6' ? `[${address.address}]` : address.address
      resolve(`http://${name}:${address.port}`)
    })
  })
}

/** Ends every connection and resolves when the server is closed. */
export function stopListening(server: Server): Promise<unknown> {
  server.closeAllConnections()
  return new Promise((resolve) => server.close(resolve))
}
