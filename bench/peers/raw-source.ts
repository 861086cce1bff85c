import { createServer as createHttpServer } from 'node:http'
import { createServer, type Socket } from 'node:net'
import { nowMs } from '../load/clock.ts'
import { eventText, OPEN, userOf } from './feed.ts'
import { answer, listen } from './http.ts'

/** Events a write. */
const RUN = 100

/**
 * No contender: a source that costs next to nothing, to find out how much the clients can take. Each write is a run of
 * events made once, sent to one socket after the other; what is asked of the clients is the same count and check.
 */
const sockets = new Set<Socket>()
let head = 0

const feed = createHttpServer(async (request, response) => {
  const ms = Number(new URL(request.url ?? '', 'http://localhost').searchParams.get('ms'))
  const startedAt = nowMs()
  let events = 0
  while (nowMs() - startedAt < ms) {
    const run = runFrom(head + 1)
    for (const socket of sockets) socket.write(run)
    head += RUN
    events += RUN * sockets.size
    await Promise.all([...sockets].map(drained))
  }
  answer(response, 200, { startedAt, events, cores: 0 })
})

function runFrom(first: number): Buffer {
  const frames = Array.from({ length: RUN }, (_, i) => `data: ${eventText(first + i, '-')}\n\n`)
  return Buffer.from(frames.join(''))
}

async function drained(socket: Socket): Promise<void> {
  if (socket.writableNeedDrain) await new Promise((resolve) => socket.once('drain', resolve))
}

listen(
  createServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', (bytes) => {
      const text = bytes.toString('latin1')
      if (text.startsWith('POST')) {
        socket.unshift(bytes)
        feed.emit('connection', socket)
        return
      }
      userOf(text.split(' ')[1])
      socket.write(`HTTP/1.1 200 OK\r\n\r\ndata: ${OPEN}\n\n`)
      sockets.add(socket)
      socket.once('close', () => sockets.delete(socket))
    })
  }),
)
