import { createHmac, createSecretKey, timingSafeEqual } from 'node:crypto'

/** What there is to check on the claims besides `sub`; as `jwtVerify` takes it. */
export interface ExpectedClaims {
  readonly issuer: string | undefined
  readonly audience: string | undefined
  /** Milliseconds since 1970. */
  readonly now: number
}

/** The headers that libraries write for HS256. Any other one, and with it `crit`, `b64` and embedded keys, is jose's to judge. */
const PLAIN_HEADERS: ReadonlySet<string> = new Set(
  ['{"alg":"HS256","typ":"JWT"}', '{"typ":"JWT","alg":"HS256"}', '{"alg":"HS256"}'].map((header) =>
    Buffer.from(header).toString('base64url'),
  ),
)

/**
 * Recognises the good tokens that look like nearly all: a plain HS256 header, times that are numbers, no `nbf`, one
 * issuer, one audience. It only ever says yes, and to nothing that jose would refuse; whoever is not recognised is
 * judged by jose. jose verifies with WebCrypto, a thread hop a token: as many of a connecting crowd's microseconds as
 * everything else about a connection.
 *
 * @returns `sub` and `exp` (seconds since 1970) of a good token, or undefined: ask jose
 */
export function createPlainTokens(
  secret: Uint8Array,
): (token: string, expected: ExpectedClaims) => { readonly sub: string; readonly exp: number } | undefined {
  const key = createSecretKey(secret)
  return (token, { issuer, audience, now }) => {
    const [header = '', payload = '', signature = ''] = token.split('.')
    if (!PLAIN_HEADERS.has(header)) return undefined
    const right = createHmac('sha256', key).update(`${header}.${payload}`).digest()
    const given = Buffer.from(signature, 'base64url')
    if (given.length !== right.length || !timingSafeEqual(given, right)) return undefined
    const { sub, exp, iat = 0, nbf, iss, aud } = parseClaims(payload)
    if (typeof sub !== 'string' || typeof exp !== 'number' || !(exp * 1000 > now)) return undefined
    if (typeof iat !== 'number' || nbf !== undefined) return undefined
    if (issuer !== undefined && iss !== issuer) return undefined
    if (audience !== undefined && aud !== audience) return undefined
    return { sub, exp }
  }
}

/** The claims, or none where the text is not an object in JSON, or not surely valid UTF-8. */
function parseClaims(payload: string): Readonly<Record<string, unknown>> {
  const text = Buffer.from(payload, 'base64url').toString('utf8')
  // What stands for bytes that are no UTF-8. Some tokens spell it out; jose tells the two apart.
  if (text.includes('\ufffd')) return {}
  try {
    const claims: unknown = JSON.parse(text)
    return typeof claims === 'object' && claims !== null && !Array.isArray(claims)
      ? (claims as Record<string, unknown>)
      : {}
  } catch {
    return {}
  }
}
