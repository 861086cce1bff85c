import type { Answer } from '../answer.ts'
import type { Handler } from '../context.ts'
import { asyncApiDocument } from './asyncapi.ts'
import { openApiDocument } from './openapi.ts'
import { documentsPage } from './page/page.ts'

const asAnswer = (document: unknown): Answer => ({
  status: 200,
  headers: { 'Content-Type': 'application/json', 'Cache-Control': 'no-cache' },
  body: JSON.stringify(document, undefined, 2),
})

/** Made when it is first asked for, and kept: most instances never are, and to make all takes a tenth of a start. */
function kept<Made>(make: (production: boolean) => Made): (production: boolean) => Made {
  const made = new Map<boolean, Made>()
  return (production) => {
    const known = made.get(production) ?? make(production)
    made.set(production, known)
    return known
  }
}

const openApi = kept((production) => asAnswer(openApiDocument({ production })))
const asyncApi = kept(() => asAnswer(asyncApiDocument()))
const page = kept((production) => documentsPage(openApiDocument({ production }), asyncApiDocument()))

/** `GET /openapi.json`: the HTTP interface (OpenAPI 3.1), with the routes that this instance has. */
export const getOpenApi: Handler = ({ app }) => openApi(app.config.production)

/** `GET /asyncapi.json`: the streams and their messages (AsyncAPI 3.0). */
export const getAsyncApi: Handler = ({ app }) => asyncApi(app.config.production)

/** `GET /docs`: both documents as a page to read. */
export const getDocs: Handler = ({ app }) => page(app.config.production)
