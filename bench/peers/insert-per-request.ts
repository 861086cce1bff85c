import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import findMyWay from 'find-my-way'
import postgres from 'postgres'
import { answer, bearer, createVerifier, listen } from './http.ts'

/**
 * The app one would write first: jose on every request, one INSERT a view, a row trigger that calls pg_notify
 * (insert-per-request.sql). It listens to its own channel, as such an app must to reach its clients, and counts.
 */
const verify = await createVerifier(process.env.JWT_SECRET ?? '')
const sql = postgres(process.env.DATABASE_URL ?? '', { max: 20 })
let heard = 0
await sql.listen('story_events', () => {
  heard += 1
})

const router = findMyWay()
router.on('POST', '/stories', (request, response) => {
  handle(request, response, async (user) => {
    const [story] =
      await sql`INSERT INTO stories (author_id) VALUES (${user}) RETURNING id, author_id, created_at, expires_at`
    answer(response, 201, story as object)
  })
})
router.on('POST', '/stories/:id/view', (request, response, { id }) => {
  handle(request, response, async (user) => {
    const [view] = await sql<{ viewed_at: Date }[]>`
      INSERT INTO story_views (story_id, viewer_id) VALUES (${id as string}, ${user})
      ON CONFLICT DO NOTHING RETURNING viewed_at`
    answer(response, 200, {
      story_id: id,
      viewer_id: user,
      viewed_at: view?.viewed_at ?? null,
      recorded: view !== undefined,
    })
  })
})
router.on('GET', '/heard', (_request, response) => answer(response, 200, { heard }))

async function handle(
  request: IncomingMessage,
  response: ServerResponse,
  act: (user: string) => Promise<void>,
): Promise<void> {
  try {
    const { sub } = await verify(bearer(request))
    await act(sub)
  } catch (error) {
    answer(response, 500, { detail: String(error) })
  }
}

listen(createServer((request, response) => router.lookup(request, response)))
