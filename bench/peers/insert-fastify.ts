import Fastify from 'fastify'
import { bearer, createVerifier, listen } from './http.ts'
import { postStory, recordView } from './insert-store.ts'

/** The same app on Fastify, with the response schema that makes it serialise fast. */
const verify = await createVerifier(process.env.JWT_SECRET ?? '')
const app = Fastify()
const viewed = {
  type: 'object',
  properties: {
    story_id: { type: 'string' },
    viewer_id: { type: 'string' },
    viewed_at: { type: ['string', 'null'] },
    recorded: { type: 'boolean' },
  },
}

app.post('/stories', async (request, reply) => {
  const { sub } = await verify(bearer(request.raw))
  return reply.code(201).send(await postStory(sub))
})
app.post<{ Params: { id: string } }>(
  '/stories/:id/view',
  { schema: { response: { 200: viewed } } },
  async (request) => {
    const { sub } = await verify(bearer(request.raw))
    return recordView(request.params.id, sub)
  },
)

await app.ready()
listen(app.server)
