import { GlimpseError } from '../errors.ts'

/** The rule that a refused token broke, as the debug log names it. */
export type RefusalRule =
  | 'length'
  | 'format'
  | 'critical_header'
  | 'algorithm'
  | 'signature'
  | 'claims_format'
  | 'claim_missing'
  | 'claim_type'
  | 'expired'
  | 'not_yet_valid'
  | 'issuer'
  | 'audience'
  | 'ticket'

/**
 * Why a token is refused. It never contains the token or a claim's value. `detail` is for the caller and set only if the
 * signature was verified: a forger must not learn which check failed.
 */
export class Refusal extends Error {
  override readonly name = 'Refusal'
  readonly rule: RefusalRule
  /** The claim that broke the rule, if any. */
  readonly claim: string | undefined
  readonly detail: string | undefined

  constructor(rule: RefusalRule, { claim, detail }: { claim?: string; detail?: string } = {}) {
    super(claim === undefined ? rule : `${rule}: ${claim}`)
    this.rule = rule
    this.claim = claim
    this.detail = detail
  }
}

/** The 401 for a token or ticket that is not valid. */
export function badToken(refusal: Refusal): GlimpseError {
  return new GlimpseError('unauthorized', {
    detail: refusal.detail ?? 'The access token is not valid.',
    invalidToken: true,
    cause: refusal,
  })
}
