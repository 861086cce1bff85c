import { connect, type Socket } from 'node:net'
import { signToken } from '../../support/token.ts'

const TIMEOUT_MS = 60_000
/** Few: a server accepts one socket in each turn of its event loop. */
const AT_ONCE = 10

/** Streams that were opened beside those of the crowd, and what else their requests were answered. */
export interface Opened {
  readonly sockets: readonly Socket[]
  /** How many were answered with 503. */
  readonly refused: number
  /** How many were not answered at all. */
  readonly unanswered: number
}

/**
 * Opens SSE streams, each of a user of its own, until so many are open or so many were refused.
 *
 * @param who how the users' names begin
 */
export async function openStreams(
  url: string,
  who: string,
  { most, refusals }: { most: number; refusals: number },
): Promise<Opened> {
  const sockets: Socket[] = []
  let begun = 0
  let refused = 0
  let unanswered = 0
  const work = async () => {
    while (begun < most && refused < refusals && unanswered < refusals) {
      const { socket, status } = await openOne(new URL(url), await signToken(`${who}-${begun++}`))
      if (status === 200) sockets.push(socket)
      else if (status === 503) refused++
      else unanswered++
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, work))
  return { sockets, refused, unanswered }
}

function openOne({ hostname, port, host }: URL, token: string): Promise<{ socket: Socket; status: number }> {
  return new Promise((resolve) => {
    const socket = connect(Number(port), hostname)
    const timer = setTimeout(() => socket.destroy(), TIMEOUT_MS)
    const settle = (status: number) => {
      clearTimeout(timer)
      if (status !== 200) socket.destroy()
      resolve({ socket, status })
    }
    socket
      .on('error', () => {})
      .on('close', () => settle(0))
      .on('connect', () =>
        // By no name of a type: a stream that is refused is then told so by its status.
        socket.write(
          `GET /events HTTP/1.1\r\nHost: ${host}\r\nAuthorization: Bearer ${token}\r\nAccept: */*\r\n\r\n`,
        ),
      )
      .once('data', (bytes) => settle(Number(bytes.toString('latin1').slice(9, 12))))
      .resume()
  })
}
