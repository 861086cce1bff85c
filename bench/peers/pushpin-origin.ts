import { createServer } from 'node:http'
import { OPEN, userOf } from './feed.ts'
import { listen } from './http.ts'

/** Pushpin's origin: answers once and leaves the stream to it, subscribed to the user's channel (GRIP's hold). */
listen(
  createServer((request, response) => {
    response.writeHead(200, {
      'content-type': 'text/event-stream',
      'grip-hold': 'stream',
      'grip-channel': userOf(request.url),
    })
    response.end(`event: stream.open\ndata: ${OPEN}\n\n`)
  }),
)
