import type { JSONWebKeySet, JWK } from 'jose'
import { z } from 'zod'
import { isRocaModulus } from './roca.ts'

export interface KeySetFetcher {
  /** The URL without its possibly secret parts, for logs. */
  readonly name: string
  /** Rejects if the endpoint does not answer in time with status 200 and a key set of reasonable size. */
  fetch(): Promise<{ readonly text: string; readonly keySet: JSONWebKeySet }>
  close(): Promise<void>
}

/** A hundred RSA keys of 4,096 bits with room to spare. */
const BODY_MAX_BYTES = 256 * 1024

const KeySet = z.object({ keys: z.array(z.looseObject({ kty: z.string() })).max(100) })

/**
 * RFC 7517 §5: keys of unknown kinds are ignored, not an error. So are insecure keys: published symmetric keys, RSA keys with
 * the exponent 1, for which anybody can make a signature, and RSA keys of a generator whose keys can be factored.
 */
function isUsable(key: JWK): boolean {
  if (key.kty === 'RSA') return integer(key.e) > 1n && !isRocaModulus(integer(key.n))
  return key.kty === 'EC' || key.kty === 'OKP'
}

/** RFC 7518 §2, Base64urlUInt. */
function integer(text = ''): bigint {
  return BigInt(`0x0${Buffer.from(text, 'base64url').toString('hex')}`)
}

/** Fetches one JWKS URL; `timeoutMs` bounds the whole exchange, from name lookup to the last byte. */
export function createKeySetFetcher(url: string, timeoutMs: number): KeySetFetcher {
  const { origin, pathname } = new URL(url)
  let opened: ReturnType<typeof open> | undefined
  let closed = false
  // Loaded when it is needed, for most services fetch no keys: it takes an eighth of their start.
  async function open() {
    const { Agent, request } = await import('undici')
    // An agent of its own, so that a global dispatcher (a proxy, an interceptor that follows redirects) is not used.
    return { request, agent: new Agent({ connections: 1, maxResponseSize: BODY_MAX_BYTES }) }
  }
  return {
    name: origin + pathname,
    async fetch() {
      if (closed) throw new Error('no keys are fetched any more')
      opened ??= open()
      const { request, agent } = await opened
      const { statusCode, body } = await request(url, {
        dispatcher: agent,
        signal: AbortSignal.timeout(timeoutMs),
        headers: { accept: 'application/jwk-set+json, application/json', 'user-agent': 'glimpse' },
      })
      if (statusCode !== 200) {
        await body.dump()
        throw new Error(`the key set's server answered ${statusCode}, not 200`)
      }
      const text = await body.text()
      return { text, keySet: parseKeySet(text) }
    },
    async close() {
      closed = true
      await (await opened)?.agent.destroy()
    },
  }
}

function parseKeySet(text: string): JSONWebKeySet {
  const parsed = KeySet.safeParse(parseJson(text))
  if (!parsed.success) throw new Error('the answer is not a JSON Web Key Set (RFC 7517 §5)')
  return { keys: parsed.data.keys.filter(isUsable) }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
