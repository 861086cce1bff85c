import { createServer } from 'node:http'
import { WebSocketServer } from 'ws'
import { feedRoute, OPEN, subscribe } from './feed.ts'
import { listen } from './http.ts'

/** WebSockets as one writes them first: `ws.send`, a string an event. */
const server = createServer(feedRoute)
const sockets = new WebSocketServer({ server, perMessageDeflate: false })
sockets.on('connection', (socket) => {
  socket.send(OPEN)
  const leave = subscribe((_seq, json) => socket.send(json))
  socket.on('close', leave)
  socket.on('error', () => {})
})
listen(server)
