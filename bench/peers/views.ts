import { randomUUID } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { jwtVerify } from 'jose'
import { answer, bearer, listen, readBody } from './http.ts'

/** Servers that record views, one of them by PEER. Each imports only what it uses. */
const PEERS: Readonly<Record<string, () => Promise<Server>>> = { bare, insert, fastify }

type Claims = { readonly sub: string; readonly exp: number }

/** jose with an imported key, which costs it half of what the bytes of the secret would. */
const secret = new TextEncoder().encode(process.env.JWT_SECRET)
const hmac = { name: 'HMAC', hash: 'SHA-256' }
const key = await crypto.subtle.importKey('raw', secret, hmac, false, ['verify'])

async function verify(token: string): Promise<Claims> {
  const { payload } = await jwtVerify(token, key, { algorithms: ['HS256'], requiredClaims: ['sub', 'exp'] })
  return payload as unknown as Claims
}

/**
 * The ceiling: everything a view costs except the database. Routed, its body read and parsed by events, which costs
 * less than the async iterator, its token verified once and then taken from a map with its expiry checked.
 */
async function bare() {
  const { default: findMyWay } = await import('find-my-way')
  const verified = new Map<string, Claims>()
  const authenticated = (request: IncomingMessage, response: ServerResponse, act: (user: string) => void) => {
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
  }
  const router = findMyWay()
  router.on('POST', '/stories', (request, response) =>
    authenticated(request, response, (user) => answer(response, 201, { id: randomUUID(), author_id: user })),
  )
  router.on('POST', '/stories/:id/view', (request, response, { id }) =>
    authenticated(request, response, (user) => {
      const viewed_at = new Date().toISOString()
      answer(response, 200, { story_id: id, viewer_id: user, viewed_at, recorded: true })
    }),
  )
  return createServer((request, response) => router.lookup(request, response))
}

/**
 * The storage of the app one would write first: one INSERT a view, a row trigger that calls pg_notify
 * (insert-per-request.sql). It listens to its own channel, as such an app must to reach its clients.
 */
async function openStore() {
  const { default: postgres } = await import('postgres')
  const sql = postgres(process.env.DATABASE_URL ?? '', { max: 20 })
  await sql.listen('story_events', () => {})
  return {
    post: async (user: string): Promise<object> => {
      const [story] =
        await sql`INSERT INTO stories (author_id) VALUES (${user}) RETURNING id, author_id, created_at, expires_at`
      return story as object
    },
    view: async (story: string, user: string): Promise<object> => {
      const [view] = await sql<{ viewed_at: Date }[]>`
        INSERT INTO story_views (story_id, viewer_id) VALUES (${story}, ${user})
        ON CONFLICT DO NOTHING RETURNING viewed_at`
      const recorded = view !== undefined
      return { story_id: story, viewer_id: user, viewed_at: view?.viewed_at ?? null, recorded }
    },
  }
}

/** That app on bare http: jose on every request, a statement a view. */
async function insert() {
  const { default: findMyWay } = await import('find-my-way')
  const store = await openStore()
  const router = findMyWay()
  const on = (path: string, status: number, act: (user: string, id: string) => Promise<object>) =>
    router.on('POST', path, async (request, response, { id = '' }) => {
      try {
        const { sub } = await verify(bearer(request))
        // POST /view needs no body, and an app reads it all the same.
        const body = await readBody(request)
        if (body !== '') JSON.parse(body)
        answer(response, status, await act(sub, id))
      } catch (error) {
        answer(response, 500, { detail: String(error) })
      }
    })
  on('/stories', 201, (user) => store.post(user))
  on('/stories/:id/view', 200, (user, id) => store.view(id, user))
  return createServer((request, response) => router.lookup(request, response))
}

/** The same on Fastify, with the response schema that makes it serialise fast. */
async function fastify() {
  const { default: Fastify } = await import('fastify')
  const store = await openStore()
  const app = Fastify()
  const text = { type: 'string' }
  const viewed = {
    type: 'object',
    properties: {
      story_id: text,
      viewer_id: text,
      viewed_at: { type: ['string', 'null'] },
      recorded: { type: 'boolean' },
    },
  }
  app.post('/stories', async (request, reply) => {
    const { sub } = await verify(bearer(request.raw))
    return reply.code(201).send(await store.post(sub))
  })
  const schema = { response: { 200: viewed } }
  app.post<{ Params: { id: string } }>('/stories/:id/view', { schema }, async (request) => {
    const { sub } = await verify(bearer(request.raw))
    return store.view(request.params.id, sub)
  })
  await app.ready()
  return app.server
}

const server = await PEERS[process.env.PEER ?? '']?.()
if (server !== undefined) listen(server)
