import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import findMyWay from 'find-my-way'
import { answer, bearer, createVerifier, listen, readJson } from './http.ts'
import { heardSoFar, postStory, recordView } from './insert-store.ts'

/** The app one would write first, on bare http: jose on every request, a statement a view. */
const verify = await createVerifier(process.env.JWT_SECRET ?? '')

const router = findMyWay()
router.on('POST', '/stories', (request, response) => {
  handle(request, response, async (user) => answer(response, 201, await postStory(user)))
})
router.on('POST', '/stories/:id/view', (request, response, { id }) => {
  handle(request, response, async (user) => answer(response, 200, await recordView(id as string, user)))
})
router.on('GET', '/heard', (_request, response) => answer(response, 200, { heard: heardSoFar() }))

async function handle(
  request: IncomingMessage,
  response: ServerResponse,
  act: (user: string) => Promise<void>,
): Promise<void> {
  try {
    const { sub } = await verify(bearer(request))
    await readJson(request)
    await act(sub)
  } catch (error) {
    answer(response, 500, { detail: String(error) })
  }
}

listen(createServer((request, response) => router.lookup(request, response)))
