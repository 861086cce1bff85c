import { createHmac } from 'node:crypto'
import fc from 'fast-check'
import { jwtVerify } from 'jose'
import { describe, expect, it } from 'vitest'
import { type ClaimRules, identityOf } from '../../src/auth/claims.ts'
import { Refusal } from '../../src/auth/refusal.ts'

const NOW_S = 1_800_000_000
const NOW = NOW_S * 1000
const RULES: ClaimRules = { issuers: [], audiences: [], userClaim: 'sub', toleranceMs: 5000 }
const GOOD = { sub: 'alice', exp: NOW_S + 60 }

const judge = (claims: unknown, rules: Partial<ClaimRules> = {}) =>
  identityOf(Buffer.from(JSON.stringify(claims)), { ...RULES, ...rules }, NOW)

function refusalOf(claims: unknown, rules: Partial<ClaimRules> = {}): Refusal {
  try {
    judge(claims, rules)
  } catch (error) {
    if (error instanceof Refusal) return error
    throw error
  }
  throw new Error(`accepted: ${JSON.stringify(claims)}`)
}

describe('the clock tolerance', () => {
  it('lets a token in that ended no longer ago, until the tolerance ends', () => {
    expect(judge({ ...GOOD, exp: NOW_S - 4.999 })).toEqual({ user: 'alice', expiresAt: NOW + 1 })
    expect(judge({ ...GOOD, exp: NOW_S })).toEqual({ user: 'alice', expiresAt: NOW + 5000 })
    expect(refusalOf({ ...GOOD, exp: NOW_S - 5 }).rule).toBe('expired')
  })

  it('lets a token in that begins no later', () => {
    expect(judge({ ...GOOD, nbf: NOW_S + 5 })).toMatchObject({ user: 'alice' })
    expect(refusalOf({ ...GOOD, nbf: NOW_S + 5.001 }).rule).toBe('not_yet_valid')
  })

  it('does not lengthen the life of any other token', () => {
    expect(judge({ ...GOOD, exp: NOW_S + 1 }).expiresAt).toBe(NOW + 1000)
  })
})

describe('issuer and audience', () => {
  it('may be any one of several', () => {
    const rules = { issuers: ['a', 'b'], audiences: ['x', 'y'] }
    for (const iss of ['a', 'b'])
      for (const aud of ['x', 'y', ['z', 'y']]) judge({ ...GOOD, iss, aud }, rules)
    expect(refusalOf({ ...GOOD, iss: 'c', aud: 'x' }, rules).rule).toBe('issuer')
    expect(refusalOf({ ...GOOD, iss: ['a'], aud: 'x' }, rules).rule).toBe('issuer')
    expect(refusalOf({ ...GOOD, iss: 'a', aud: ['z'] }, rules).rule).toBe('audience')
    expect(refusalOf({ ...GOOD, iss: 'a', aud: [['x']] }, rules).rule).toBe('audience')
  })

  it('client_id stands for an aud that is not there, and for no other', () => {
    const rules = { audiences: ['x'] }
    judge({ ...GOOD, client_id: 'x' }, rules)
    for (const aud of ['y', '', null, [], 0])
      expect(refusalOf({ ...GOOD, aud, client_id: 'x' }, rules).rule).toBe('audience')
    // It is one text, not a list.
    expect(refusalOf({ ...GOOD, client_id: ['x'] }, rules).rule).toBe('audience')
  })
})

it('the user is named by the claim that is configured, and by no other', () => {
  const claim = 'https://claims.example/user'
  expect(judge({ ...GOOD, [claim]: 'bob' }, { userClaim: claim }).user).toBe('bob')
  expect(refusalOf(GOOD, { userClaim: claim })).toMatchObject({ rule: 'claim_missing', claim })
  expect(refusalOf(GOOD, { userClaim: 'constructor' }).rule).toMatch(/^claim_/)
})

const STRING = 'must be a string of 1 to 255 characters without control characters.'

it.each<[string, string | undefined, string, object]>([
  ['claim_missing', 'exp', 'The access token has no claim exp.', { exp: undefined }],
  ['claim_missing', 'sub', 'The access token has no claim sub.', { sub: undefined }],
  ['claim_missing', 'iss', 'The access token has no claim iss.', { iss: undefined }],
  ['claim_missing', 'aud', 'The access token has no claim aud.', { aud: undefined }],
  ['claim_type', 'sub', `The claim sub of the access token ${STRING}`, { sub: 7 }],
  ['claim_type', 'exp', 'The claim exp of the access token must be a number.', { exp: 'soon' }],
  ['claim_type', 'nbf', 'The claim nbf of the access token must be a number.', { nbf: '1' }],
  ['claim_type', 'iat', 'The claim iat of the access token must be a number.', { iat: 'now' }],
  ['expired', 'exp', 'The access token has expired.', { exp: 1 }],
  ['not_yet_valid', 'nbf', 'The access token is not valid yet.', { nbf: NOW_S + 60 }],
  ['issuer', 'iss', 'The issuer (iss) of the access token is not accepted here.', { iss: 'them' }],
  ['audience', 'aud', 'The audience (aud) of the access token is not accepted here.', { aud: 'y' }],
  [
    'audience',
    'client_id',
    'The audience (client_id) of the access token is not accepted here.',
    { aud: undefined, client_id: 'y' },
  ],
])('is refused as %s of %s, and its caller is told: %s', (rule, claim, detail, bad) => {
  const refusal = refusalOf({ ...GOOD, iss: 'us', aud: 'x', ...bad }, { issuers: ['us'], audiences: ['x'] })
  expect(refusal).toMatchObject({ rule, claim, detail })
  // RFC 6750 §3 holds error_description to these characters.
  expect(refusal.detail).toMatch(/^[\x20-\x21\x23-\x5b\x5d-\x7e]+$/)
})

describe('claims', () => {
  const read = (bytes: Buffer) => identityOf(bytes, RULES, NOW)
  const FORMAT = 'The claims of the access token are not an object in JSON.'

  it.each([
    '[]',
    'null',
    '7',
    '"text"',
    'true',
    '{',
    '',
    `[${JSON.stringify(GOOD)}]`,
  ])('that are %s are no claims', (text) => {
    const refusal = expect.objectContaining({ rule: 'claims_format', claim: undefined, detail: FORMAT })
    expect(() => read(Buffer.from(text))).toThrow(refusal)
  })

  it('must be UTF-8: a decoder that puts a character for other bytes would make one user of many', () => {
    const bytes = Buffer.from(JSON.stringify({ ...GOOD, sub: 'alic\xe9' }), 'latin1')
    expect(() => read(bytes)).toThrow(expect.objectContaining({ rule: 'claims_format' }))
  })

  it('may have that very character in them', () => {
    expect(read(Buffer.from(JSON.stringify({ ...GOOD, sub: 'a\ufffd' }))).user).toBe('a\ufffd')
  })
})

/** What jose makes of the same claims, in a token that is signed well. */
async function josesVerdict(payload: Uint8Array, { issuers, audiences, toleranceMs }: ClaimRules) {
  const secret = new TextEncoder().encode('a secret of the tests, 32 bytes or more')
  const text = `${Buffer.from('{"alg":"HS256"}').toString('base64url')}.${Buffer.from(payload).toString('base64url')}`
  const token = `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`
  const verified = await jwtVerify(token, secret, {
    algorithms: ['HS256'],
    currentDate: new Date(NOW),
    clockTolerance: toleranceMs / 1000,
    requiredClaims: ['sub', 'exp'],
    ...(issuers.length === 0 ? {} : { issuer: [...issuers] }),
    ...(audiences.length === 0 ? {} : { audience: [...audiences] }),
  }).catch(() => undefined)
  return verified?.payload
}

it('the verdict is that of jose, except where this service asks for more', async () => {
  const likely = <T, U>(common: fc.Arbitrary<T>, odd: fc.Arbitrary<U>) =>
    fc.oneof({ weight: 4, arbitrary: common }, { weight: 1, arbitrary: odd })
  const time = likely(
    fc.constantFrom(NOW_S + 60, NOW_S + 0.5, NOW_S, NOW_S - 1, NOW_S - 5, NOW_S + 6, 1e300),
    fc.oneof(fc.double(), fc.string(), fc.constant(null)),
  )
  const name = likely(fc.constantFrom('us', 'them'), fc.oneof(fc.array(fc.constant('us')), fc.jsonValue()))
  const claims = fc
    .record({ iat: time, nbf: time, iss: name, aud: name }, { requiredKeys: [] })
    .chain((others) =>
      fc
        .record({ sub: likely(fc.string({ unit: 'binary' }), fc.jsonValue()), exp: time })
        .map((needed) => ({ ...needed, ...others })),
    )
  const payload = likely(
    claims.map((value) => Buffer.from(JSON.stringify(value))),
    fc.oneof(
      fc.json().map((text) => Buffer.from(text)),
      fc.uint8Array().map((bytes) => Buffer.from(bytes)),
      claims.map((value) => Buffer.from(JSON.stringify(value), 'latin1')),
    ),
  )
  const rules: fc.Arbitrary<ClaimRules> = fc.record({
    issuers: fc.constantFrom([], ['us']),
    audiences: fc.constantFrom([], ['us', 'you']),
    userClaim: fc.constant('sub'),
    toleranceMs: fc.constantFrom(0, 5000),
  })
  const counts = { accepted: 0, refused: 0, stricter: 0 }
  await fc.assert(
    fc.asyncProperty(payload, rules, async (bytes, wanted) => {
      const theirs = await josesVerdict(bytes, wanted)
      try {
        const { user } = identityOf(bytes, wanted, NOW)
        counts.accepted += 1
        expect(theirs?.sub).toBe(user)
      } catch (error) {
        if (!(error instanceof Refusal)) throw error
        counts.refused += 1
        if (theirs === undefined) return
        counts.stricter += 1
        // A sub that is no user, and times to the millisecond, where jose compares whole seconds.
        expect(['sub', 'exp', 'nbf']).toContain(error.claim)
        expect(['claim_type', 'expired', 'not_yet_valid']).toContain(error.rule)
      }
    }),
    { numRuns: 1500, examples: [[Buffer.from(JSON.stringify(GOOD)), RULES]] },
  )
  expect(counts.accepted).toBeGreaterThan(50)
  expect(counts.refused - counts.stricter).toBeGreaterThan(50)
})
