import { createServer } from 'node:http'
import { WebSocketServer } from 'ws'
import { Crowd, feedRoute, OPEN, userOf } from './feed.ts'
import { listen } from './http.ts'

/** WebSockets as one writes them first: `ws.send`, a string an event. */
const crowd = new Crowd()
const server = createServer(feedRoute(crowd.publish))
const sockets = new WebSocketServer({ server, perMessageDeflate: false })
sockets.on('connection', (socket, request) => {
  socket.send(OPEN)
  const leave = crowd.join(userOf(request.url), (_seq, json) => socket.send(json))
  socket.on('close', leave)
  socket.on('error', () => {})
})
listen(server)
