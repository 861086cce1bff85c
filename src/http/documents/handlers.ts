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

const inProduction = asAnswer(openApiDocument({ production: true }))
const outsideProduction = asAnswer(openApiDocument({ production: false }))
const asyncApi = asAnswer(asyncApiDocument())

/** `GET /openapi.json`: the HTTP interface (OpenAPI 3.1), with the routes that this instance has. */
export const getOpenApi: Handler = ({ app }) => (app.config.production ? inProduction : outsideProduction)

/** `GET /asyncapi.json`: the streams and their messages (AsyncAPI 3.0). */
export const getAsyncApi: Handler = () => asyncApi

const pageInProduction = documentsPage(openApiDocument({ production: true }), asyncApiDocument())
const pageOutsideProduction = documentsPage(openApiDocument({ production: false }), asyncApiDocument())

/** `GET /docs`: both documents as a page to read. */
export const getDocs: Handler = ({ app }) =>
  app.config.production ? pageInProduction : pageOutsideProduction
