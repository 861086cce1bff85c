import { readFileSync } from 'node:fs'
import { TOKEN_COOKIE } from '../find-token.ts'

const { version, description } = JSON.parse(
  readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'),
) as { version: string; description: string }

export const INFO = { title: 'Glimpse', version, description, license: { name: 'MIT' } }

/** Where a token may be sent; OpenAPI and AsyncAPI name the type of an API key differently. */
export const CARRIERS = {
  bearer: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' },
  query: {
    in: 'query',
    name: 'token',
    description: 'For streams only, because browsers cannot set headers there.',
  },
  ticket: {
    in: 'query',
    name: 'ticket',
    description: 'For streams only: a ticket of POST /tickets, which opens one stream.',
  },
  cookie: {
    in: 'cookie',
    name: TOKEN_COOKIE,
    description: 'Accepted only from pages of the service’s own origin and of allowed origins.',
  },
}
