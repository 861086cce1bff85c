import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo, Server } from 'node:net'

/** Answers with one JSON text, its length known beforehand: the cheapest response that Node's http can make. */
export function answer(response: ServerResponse, status: number, body: object): void {
  const text = JSON.stringify(body)
  response.writeHead(status, {
    'content-type': 'application/json; charset=utf-8',
    'content-length': Buffer.byteLength(text),
  })
  response.end(text)
}

export async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString()
}

/** Has the server that PEER names listen on the loopback, and says where, in the line that harness/server.ts waits for. */
export async function serve(peers: Readonly<Record<string, () => Server | Promise<Server>>>): Promise<void> {
  const server = await peers[process.env.PEER ?? '']?.()
  server?.listen({ host: '127.0.0.1', port: 0, backlog: 1024 }, () => {
    const { port } = server.address() as AddressInfo
    console.log(JSON.stringify({ msg: 'listening', url: `http://127.0.0.1:${port}` }))
  })
}
