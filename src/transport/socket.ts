import type { Socket } from 'node:net'

/** How long a peer may take to read the last words, in ms. */
const LINGER_MS = 2000

/** Destroys a socket that was told to end, if its peer has not taken the end by then: it must not hold memory for ever. */
export function destroyLater(socket: Socket): void {
  const timer = setTimeout(() => socket.destroy(), LINGER_MS).unref()
  socket.once('close', () => clearTimeout(timer))
}
