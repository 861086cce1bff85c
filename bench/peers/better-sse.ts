import { createServer } from 'node:http'
import { type Channel, createChannel, createSession } from 'better-sse'
import { feedRoute, OPEN, userOf } from './feed.ts'
import { listen } from './http.ts'

/** better-sse as its guide has it: a session a connection, a channel a user. */
const channels = new Map<string, Channel>()

const feed = feedRoute((user, seq, json) => {
  channels.get(user)?.broadcast(JSON.parse(json), 'story.viewed', { eventId: `7f3a9c2b11de.${seq}` })
})

listen(
  createServer(async (request, response) => {
    if (request.method === 'POST') return feed(request, response)
    const user = userOf(request.url)
    const session = await createSession(request, response)
    const channel = channels.get(user) ?? createChannel()
    channels.set(user, channel)
    channel.register(session)
    session.push(JSON.parse(OPEN), 'stream.open')
  }),
)
