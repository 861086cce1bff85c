import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { jwtVerify } from 'jose'
import { answer, readBody, serve } from './http.ts'

type Claims = { readonly sub: string; readonly exp: number }

/** jose with an imported key, which costs it half of what the bytes of the secret would. */
const secret = new TextEncoder().encode(process.env.JWT_SECRET)
const hmac = { name: 'HMAC', hash: 'SHA-256' }
const key = await crypto.subtle.importKey('raw', secret, hmac, false, ['verify'])

async function verify(token: string): Promise<Claims> {
  const { payload } = await jwtVerify(token, key, { algorithms: ['HS256'], requiredClaims: ['sub', 'exp'] })
  return payload as unknown as Claims
}

function bearer(request: IncomingMessage): string {
  return request.headers.authorization?.slice('Bearer '.length) ?? ''
}

/** Node's http with a router, as the peers without a framework have it. */
async function routed(view: (request: IncomingMessage, response: ServerResponse, story: string) => void) {
  const { default: findMyWay } = await import('find-my-way')
  const router = findMyWay()
  router.on('POST', '/stories/:id/view', (request, response, { id = '' }) => view(request, response, id))
  return createServer((request, response) => router.lookup(request, response))
}

/**
 * The ceiling: everything a view costs except the database. Routed, its body read and parsed by events, which costs
 * less than the async iterator, its token verified once and then taken from a map with its expiry checked.
 */
async function bare() {
  const verified = new Map<string, Claims>()
  return routed((request, response, story) => {
    const act = (user: string) => {
      const viewed_at = new Date().toISOString()
      answer(response, 200, { story_id: story, viewer_id: user, viewed_at, recorded: true })
    }
    let body = ''
    request.setEncoding('utf8')
    request.on('data', (text: string) => {
      body += text
    })
    request.on('end', () => {
      try {
        if (body !== '') JSON.parse(body)
      } catch {
        return answer(response, 400, {})
      }
      const token = bearer(request)
      const known = verified.get(token)
      // Where the token is known, the common case, it waits for no promise.
      if (known !== undefined && known.exp * 1000 > Date.now()) return act(known.sub)
      verify(token).then(
        (claims) => {
          verified.set(token, claims)
          act(claims.sub)
        },
        () => answer(response, 401, {}),
      )
    })
  })
}

/**
 * The storage of the app one would write first: one INSERT a view, a row trigger that calls pg_notify
 * (insert-per-request.sql). It listens to its own channel, as such an app must to reach its clients.
 */
async function openStore() {
  const { default: postgres } = await import('postgres')
  const sql = postgres(process.env.DATABASE_URL ?? '', { max: 20 })
  await sql.listen('story_events', () => {})
  return async (story: string, user: string) => {
    const [view] = await sql<{ viewed_at: Date }[]>`
      INSERT INTO story_views (story_id, viewer_id) VALUES (${story}, ${user})
      ON CONFLICT DO NOTHING RETURNING viewed_at`
    const recorded = view !== undefined
    return { story_id: story, viewer_id: user, viewed_at: view?.viewed_at ?? null, recorded }
  }
}

/** That app on bare http: jose on every request, a statement a view. */
async function insert() {
  const record = await openStore()
  return routed(async (request, response, story) => {
    try {
      const { sub } = await verify(bearer(request))
      // POST /view needs no body, and an app reads it all the same.
      const body = await readBody(request)
      if (body !== '') JSON.parse(body)
      answer(response, 200, await record(story, sub))
    } catch (error) {
      answer(response, 500, { detail: String(error) })
    }
  })
}

/** The same on Fastify, with the response schema that makes it serialise fast. */
async function fastify() {
  const { default: Fastify } = await import('fastify')
  const record = await openStore()
  const text = { type: 'string' }
  const viewed_at = { type: ['string', 'null'] }
  const properties = { story_id: text, viewer_id: text, viewed_at, recorded: { type: 'boolean' } }
  const schema = { response: { 200: { type: 'object', properties } } }
  const app = Fastify()
  app.post<{ Params: { id: string } }>('/stories/:id/view', { schema }, async (request) => {
    const { sub } = await verify(bearer(request.raw))
    return record(request.params.id, sub)
  })
  await app.ready()
  return app.server
}

/** Servers that record views, one of them by PEER. Each imports only what it uses. */
await serve({ bare, insert, fastify })
