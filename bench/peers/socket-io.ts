import { createServer } from 'node:http'
import { createAdapter } from '@socket.io/postgres-adapter'
import { Pool } from 'pg'
import { Server } from 'socket.io'
import { feedRoute } from './feed.ts'
import { listen } from './http.ts'

/**
 * Socket.IO as its guide has it: a room a user. With DATABASE_URL the Postgres adapter joins several of these: the one
 * that is fed holds no connections, so every event goes through NOTIFY.
 */
const server = createServer()
const io = new Server({ transports: ['websocket'], perMessageDeflate: false, pingInterval: 600_000 })
if (process.env.DATABASE_URL !== undefined) {
  const pool = new Pool({ connectionString: process.env.DATABASE_URL, max: 10 })
  await pool.query(`CREATE TABLE IF NOT EXISTS socket_io_attachments (
    id bigserial UNIQUE, created_at timestamptz DEFAULT now(), payload bytea)`)
  io.adapter(createAdapter(pool))
}
io.on('connection', (socket) => {
  socket.join(socket.handshake.query.user as string)
  socket.emit('stream.open', {})
})

// Before it attaches: Engine.IO takes over the requests for its own path and leaves the others to whoever was there.
server.on(
  'request',
  feedRoute((user, _seq, json) => io.to(user).emit('story.viewed', JSON.parse(json))),
)
io.attach(server)
listen(server)
