import { createServer } from 'node:net'

const FIRST = 20_000
const LAST = 31_999

let next = FIRST + Math.floor(Math.random() * (LAST - FIRST))

/**
 * A free port for somebody who is going to leave it and come back. It lies below the range from which the kernel takes
 * the ports of outgoing connections: one of a hundred reconnecting clients would sit on it when its owner returns.
 */
export async function stablePort(): Promise<number> {
  for (let tries = 0; tries < 1000; tries++) {
    next = next === LAST ? FIRST : next + 1
    const port = next
    if (await isFree(port)) return port
  }
  throw new Error(`no free port from ${FIRST} to ${LAST}`)
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}
