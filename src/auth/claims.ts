import { isUserId } from '../event.ts'
import { Refusal } from './refusal.ts'

/** Who a verified token speaks for, and until when (milliseconds since 1970). */
export interface Identity {
  readonly user: string
  readonly expiresAt: number
}

/** The rules for the claims of a token. */
export interface ClaimRules {
  /** `iss` must be one of these; not checked if empty. */
  readonly issuers: readonly string[]
  /** `aud`, or `client_id` if there is no `aud`, must contain one of these; not checked if empty. */
  readonly audiences: readonly string[]
  /** The claim that names the user. */
  readonly userClaim: string
  /** How far the issuer's clock may be off. */
  readonly toleranceMs: number
}

type Claims = Readonly<Record<string, unknown>>

/** The last time that a Date can hold: a later `exp` would make `new Date(expiresAt)` throw elsewhere. */
const END_OF_TIME = 8.64e15

/**
 * The identity in a token's claims, checked by the rules (RFC 7519 §4.1). The signature must have been verified before.
 *
 * A token that expired within the tolerance stays valid until the tolerance is over; every other one until its `exp`, so
 * that streams end when the issuer says.
 *
 * @param payload the token's second part, decoded
 * @param now milliseconds since 1970
 * @throws Refusal with a detail for the caller
 */
export function identityOf(payload: Buffer, rules: ClaimRules, now: number): Identity {
  const claims = parseClaims(payload)
  const exp = numericDate(claims, 'exp')
  if (exp === undefined) throw missing('exp')
  const endsAt = Math.min(exp, END_OF_TIME)
  if (endsAt + rules.toleranceMs <= now)
    throw new Refusal('expired', { claim: 'exp', detail: 'The access token has expired.' })
  const nbf = numericDate(claims, 'nbf')
  if (nbf !== undefined && nbf > now + rules.toleranceMs)
    throw new Refusal('not_yet_valid', { claim: 'nbf', detail: 'The access token is not valid yet.' })
  numericDate(claims, 'iat')
  checkIssuer(claims, rules.issuers)
  checkAudience(claims, rules.audiences)
  const user = claims[rules.userClaim]
  if (user === undefined) throw missing(rules.userClaim)
  if (!isUserId(user))
    throw new Refusal('claim_type', {
      claim: rules.userClaim,
      detail: `The claim ${rules.userClaim} of the access token must be a string of 1 to 255 characters without control characters.`,
    })
  return { user, expiresAt: endsAt > now ? endsAt : endsAt + rules.toleranceMs }
}

const strict = new TextDecoder('utf-8', { fatal: true })

function parseClaims(payload: Buffer): Claims {
  try {
    let text = payload.toString('utf8')
    // U+FFFD stands for bytes that are not UTF-8, or the token contains it: only then is the slow, strict decoder needed.
    if (text.includes('\ufffd')) text = strict.decode(payload)
    const claims: unknown = JSON.parse(text)
    if (typeof claims === 'object' && claims !== null && !Array.isArray(claims)) return claims as Claims
  } catch {
    // The parser's error quotes the claims.
  }
  throw new Refusal('claims_format', { detail: 'The claims of the access token are not an object in JSON.' })
}

/** RFC 7519 §2, NumericDate, in milliseconds. JSON.parse reads 1e999 as Infinity: a token that never ends. */
function numericDate(claims: Claims, claim: string): number | undefined {
  const value = claims[claim]
  if (value === undefined) return undefined
  if (typeof value !== 'number' || !Number.isFinite(value))
    throw new Refusal('claim_type', {
      claim,
      detail: `The claim ${claim} of the access token must be a number.`,
    })
  return value * 1000
}

function checkIssuer({ iss }: Claims, issuers: readonly string[]): void {
  if (issuers.length === 0) return
  if (iss === undefined) throw missing('iss')
  if (!issuers.includes(iss as string))
    throw new Refusal('issuer', {
      claim: 'iss',
      detail: 'The issuer (iss) of the access token is not accepted here.',
    })
}

/** Access tokens of Amazon Cognito have no `aud`; their `client_id` names the application. */
function checkAudience({ aud, client_id }: Claims, audiences: readonly string[]): void {
  if (audiences.length === 0) return
  const claim = aud === undefined && client_id !== undefined ? 'client_id' : 'aud'
  const value = claim === 'aud' ? aud : client_id
  if (value === undefined) throw missing('aud')
  const named: readonly unknown[] = claim === 'aud' && Array.isArray(value) ? value : [value]
  if (!named.some((name) => audiences.includes(name as string)))
    throw new Refusal('audience', {
      claim,
      detail: `The audience (${claim}) of the access token is not accepted here.`,
    })
}

function missing(claim: string): Refusal {
  return new Refusal('claim_missing', { claim, detail: `The access token has no claim ${claim}.` })
}
