import { createServer as createHttpServer } from 'node:http'
import { createServer, type Socket } from 'node:net'
import { feedRoute, OPEN, subscribe } from './feed.ts'
import { listen } from './http.ts'

/** The bound for Node: no HTTP on the stream, one `socket.write` an event. Only the feed's POST is handed to http. */
const feed = createHttpServer(feedRoute)

listen(
  createServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', (head) => {
      if (!head.toString('latin1').startsWith('POST')) return stream(socket)
      socket.unshift(head)
      feed.emit('connection', socket)
    })
  }),
)

function stream(socket: Socket): void {
  socket.write(
    `HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\nevent: stream.open\ndata: ${OPEN}\n\n`,
  )
  const leave = subscribe((seq, json) => {
    socket.write(`id: 7f3a9c2b11de.${seq}\nevent: story.viewed\ndata: ${json}\n\n`)
  })
  socket.on('close', leave)
}
