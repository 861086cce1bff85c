import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { extname } from 'node:path'
import { GlimpseError } from '../errors.ts'
import type { Answer } from './answer.ts'
import type { Handler } from './context.ts'

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
}

/** Only resources of this origin and nothing inline: user text that became markup by a bug still could not run. */
const SECURITY_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

/** A folder's files, read once, so that a request can name no other file of the disk. */
function filesOf(folder: URL): ReadonlyMap<string, Answer> {
  return new Map(
    readdirSync(folder)
      .filter((name) => extname(name) in TYPES)
      .map((name) => [
        name,
        {
          status: 200,
          headers: {
            'Content-Type': TYPES[extname(name)],
            'Cache-Control': 'no-cache',
            'Content-Security-Policy': SECURITY_POLICY,
          },
          body: readFileSync(new URL(name, folder)),
        },
      ]),
  )
}

const page = filesOf(new URL('../../src/console/', import.meta.url))

/** The built client in modules; missing if the service runs from its sources and nothing was built. */
const CLIENT = new URL('../../dist/client/', import.meta.url)
const client = existsSync(CLIENT) ? filesOf(CLIENT) : new Map<string, Answer>()

/** `GET /` and `GET /console/{file}`: the demo page. */
export const getConsole: Handler = ({ params }) => {
  const file = page.get(params.file ?? 'index.html')
  if (file === undefined) throw new GlimpseError('not_found')
  return file
}

/** `GET /console/client/{file}`: the client that the demo page uses. */
export const getConsoleClient: Handler = ({ params }) => {
  const file = client.get(params.file ?? '')
  if (file === undefined) throw new GlimpseError('not_found')
  return file
}
