import { createServer as createHttpServer } from 'node:http'
import { createServer, type Socket } from 'node:net'
import { Crowd, feedRoute, OPEN, userOf } from './feed.ts'
import { listen } from './http.ts'

/** The bound for Node: no HTTP on the stream, one `socket.write` an event. Only the feed's POST is handed to http. */
const crowd = new Crowd()
const feed = createHttpServer(feedRoute(crowd.publish))

listen(
  createServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', (head) => {
      const text = head.toString('latin1')
      if (!text.startsWith('POST')) return stream(socket, userOf(text.split(' ')[1]))
      socket.unshift(head)
      feed.emit('connection', socket)
    })
  }),
)

function stream(socket: Socket, user: string): void {
  socket.write(
    `HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\nevent: stream.open\ndata: ${OPEN}\n\n`,
  )
  const leave = crowd.join(user, (seq, json) => {
    socket.write(`id: 7f3a9c2b11de.${seq}\nevent: story.viewed\ndata: ${json}\n\n`)
  })
  socket.on('close', leave)
}
