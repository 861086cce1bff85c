import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { GlimpseError } from '../errors.ts'
import type { Answer } from './answer.ts'
import type { Handler } from './context.ts'
import { hasTag } from './etag.ts'

/** The built client in one module; missing if the service runs from its sources and nothing was built. */
const MODULE = new URL('../../dist/client.js', import.meta.url)

/** A file that any page may import, because it has no user data. It changes with the service, so caches revalidate it. */
function publicFile(url: URL, type: string): Answer | undefined {
  if (!existsSync(url)) return undefined
  const body = readFileSync(url)
  return {
    status: 200,
    headers: {
      'Content-Type': type,
      'Cache-Control': 'no-cache',
      ETag: `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`,
      'Access-Control-Allow-Origin': '*',
      'Cross-Origin-Resource-Policy': 'cross-origin',
    },
    body,
  }
}

const served = new Map([
  ['/client.js', publicFile(MODULE, 'text/javascript; charset=utf-8')],
  ['/client.js.map', publicFile(new URL('client.js.map', MODULE), 'application/json')],
])

/** `GET /client.js` and its source map: the client for pages without a bundler. */
export const getClientModule: Handler = ({ request, url }) => {
  const file = served.get(url.path)
  if (file === undefined) throw new GlimpseError('not_found')
  return hasTag(request, String(file.headers?.ETag)) ? { ...file, status: 304, body: '' } : file
}
