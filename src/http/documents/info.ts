import { readFileSync } from 'node:fs'
import { TOKEN_COOKIE } from '../find-token.ts'

const { version, description } = JSON.parse(
  readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'),
) as { version: string; description: string }

export const INFO = { title: 'Glimpse', version, description, license: { name: 'MIT' } }

/** Where a token may stand; the two kinds of document name the type of an API key differently. */
export const CARRIERS = {
  bearer: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' },
  query: { in: 'query', name: 'token', description: 'For streams, which browsers open without headers.' },
  ticket: { in: 'query', name: 'ticket', description: 'For streams: one of POST /tickets, which opens one.' },
  cookie: {
    in: 'cookie',
    name: TOKEN_COOKIE,
    description: 'Counts for pages of the service’s own origin and of the allowed ones.',
  },
}
