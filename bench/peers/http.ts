import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo, Server } from 'node:net'
import { jwtVerify } from 'jose'

/** Answers with one JSON text, its length known beforehand: the cheapest response that Node's http can make. */
export function answer(response: ServerResponse, status: number, body: object): void {
  const text = JSON.stringify(body)
  response.writeHead(status, {
    'content-type': 'application/json; charset=utf-8',
    'content-length': Buffer.byteLength(text),
  })
  response.end(text)
}

export function bearer(request: IncomingMessage): string {
  return request.headers.authorization?.slice('Bearer '.length) ?? ''
}

/** The body's JSON, undefined where it is empty: POST /view needs none, and an app reads it all the same. */
export async function readJson(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  return chunks.length === 0 ? undefined : JSON.parse(Buffer.concat(chunks).toString())
}

export type Verify = (token: string) => Promise<{ readonly sub: string; readonly exp: number }>

/** jose with an imported key, which costs it half of what the bytes of the secret would. */
export async function createVerifier(secret: string): Promise<Verify> {
  const key = await crypto.subtle.importKey(
    'raw',
    new TextEncoder().encode(secret),
    { name: 'HMAC', hash: 'SHA-256' },
    false,
    ['verify'],
  )
  return async (token) => {
    const { payload } = await jwtVerify(token, key, { algorithms: ['HS256'], requiredClaims: ['sub', 'exp'] })
    return { sub: payload.sub as string, exp: payload.exp as number }
  }
}

/** Listens on any free port of the loopback and says where, in the line that harness/server.ts waits for. */
export function listen(server: Server): void {
  server.listen({ host: '127.0.0.1', port: 0, backlog: 1024 }, () => {
    const { port } = server.address() as AddressInfo
    console.log(JSON.stringify({ msg: 'listening', url: `http://127.0.0.1:${port}` }))
  })
}
