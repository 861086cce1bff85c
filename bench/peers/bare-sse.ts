import { createServer } from 'node:http'
import { feedRoute, OPEN, subscribe } from './feed.ts'
import { listen } from './http.ts'

/** Server-sent events as one writes them first: `res.write`, a string an event, chunked. */
listen(
  createServer((request, response) => {
    if (request.method === 'POST') return feedRoute(request, response)
    response.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache',
    })
    response.write(`event: stream.open\ndata: ${OPEN}\n\n`)
    const leave = subscribe((seq, json) => {
      response.write(`id: 7f3a9c2b11de.${seq}\nevent: story.viewed\ndata: ${json}\n\n`)
    })
    response.on('close', leave)
  }),
)
