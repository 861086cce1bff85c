import { createServer } from 'node:http'
import { Crowd, feedRoute, OPEN, userOf } from './feed.ts'
import { listen } from './http.ts'

/** Server-sent events as one writes them first: `res.write`, a string an event, chunked. */
const crowd = new Crowd()
const feed = feedRoute(crowd.publish)

listen(
  createServer((request, response) => {
    if (request.method === 'POST') return feed(request, response)
    response.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache',
    })
    response.write(`event: stream.open\ndata: ${OPEN}\n\n`)
    const leave = crowd.join(userOf(request.url), (seq, json) => {
      response.write(`id: 7f3a9c2b11de.${seq}\nevent: story.viewed\ndata: ${json}\n\n`)
    })
    response.on('close', leave)
  }),
)
