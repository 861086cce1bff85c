import type { Socket } from 'node:net'

/** How long a peer may take to read the last words, in ms. */
export const LINGER_MS = 2000

/** A symbol, because the garbage collector scans large WeakSets. */
const ENDING = Symbol('ending')

/**
 * The one way to end a socket: last words behind what was already written, then the end, and destroyed within 2 s
 * whatever the peer does. What the peer still sends until then is read and thrown away: closed with bytes unread, the
 * kernel would answer with a reset, which takes the last words out of the peer's hands.
 */
export function endSocket(socket: Socket & { [ENDING]?: true }, lastWords?: string): void {
  if (socket[ENDING] || socket.destroyed) return
  socket[ENDING] = true
  // A parser or WebSocket receiver left in place would go on working for whoever keeps sending.
  socket.removeAllListeners('data')
  socket.on('data', discard)
  // A peer that closed its side first may have had ours closed already.
  if (socket.writable) socket.end(lastWords ?? '')
  socket.resume()
  destroyLater(socket)
}

function discard(): void {}

/** Destroys a socket that was told to end, if its peer has not taken the end by then: it must not hold memory for ever. */
export function destroyLater(socket: Socket): void {
  const timer = setTimeout(() => socket.destroy(), LINGER_MS).unref()
  socket.once('close', () => clearTimeout(timer))
}
