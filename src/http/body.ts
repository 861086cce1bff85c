import type { IncomingMessage } from 'node:http'
import { GlimpseError } from '../errors.ts'
import type { Context } from './context.ts'

/**
 * Reads a request's JSON body.
 *
 * @returns the parsed value; an empty body is an empty object
 * @throws GlimpseError `not_json`, `encoded_body` (415), `body_too_large` (413), `malformed_json` (400)
 */
export async function readJson({ app, request, body }: Context): Promise<unknown> {
  const bytes = body ?? (await readBytes(request, app.config.bodyMaxBytes))
  if (bytes.length === 0) return {}
  const encoding = request.headers['content-encoding']
  if (encoding !== undefined && encoding.toLowerCase() !== 'identity') {
    throw new GlimpseError('encoded_body', { detail: 'Send the body without a Content-Encoding.' })
  }
  const type = request.headers['content-type'] ?? ''
  if (!/^application\/(?:[\w.-]+\+)?json\s*(?:;|$)/i.test(type)) {
    throw new GlimpseError('not_json', { detail: 'Send the body as Content-Type: application/json.' })
  }
  let text: string
  try {
    // RFC 8259 §8.1: JSON is UTF-8. Lenient decoding would store another text than was sent.
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
    return JSON.parse(text)
  } catch (cause) {
    throw new GlimpseError('malformed_json', { detail: 'The body is not valid JSON in UTF-8.', cause })
  }
}

/**
 * Bounds every body, even if the route needs none. A body with a Content-Length is refused by it; any other is read before the
 * handler, up to the bound.
 *
 * @returns undefined if the handler may read the body or ignore it
 * @throws GlimpseError `body_too_large`; the promise rejects with it too
 */
export function boundedBody(request: IncomingMessage, maxBytes: number): Promise<Buffer> | undefined {
  const { headers } = request
  if (headers['transfer-encoding'] !== undefined) return readBytes(request, maxBytes)
  if (Number(headers['content-length'] ?? 0) > maxBytes) throw tooLarge(maxBytes)
  return undefined
}

const tooLarge = (maxBytes: number) =>
  new GlimpseError('body_too_large', { detail: `The body may hold ${maxBytes} bytes at most.` })

function readBytes(request: IncomingMessage, maxBytes: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let length = 0
    request.on('data', (chunk: Buffer) => {
      length += chunk.length
      if (length > maxBytes) reject(tooLarge(maxBytes))
      else chunks.push(chunk)
    })
    request.on('end', () =>
      resolve(chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks)),
    )
    request.on('error', (cause) => reject(new GlimpseError('malformed_request', { cause })))
    request.on('close', () => {
      if (!request.complete)
        reject(new GlimpseError('malformed_request', { detail: 'The body ended early.' }))
    })
  })
}
