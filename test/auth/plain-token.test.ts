import { createHmac } from 'node:crypto'
import fc from 'fast-check'
import { jwtVerify } from 'jose'
import { describe, expect, it } from 'vitest'
import { createPlainTokens, type ExpectedClaims } from '../../src/auth/plain-token.ts'

const SECRET = new TextEncoder().encode('a secret of the tests, 32 bytes or more')
const NOW_S = 1_800_000_000
const EXPECTED: ExpectedClaims = { issuer: undefined, audience: undefined, now: NOW_S * 1000 }
const GOOD = { sub: 'alice', exp: NOW_S + 60 }
const plain = createPlainTokens(SECRET)

const encode = (part: string | Uint8Array) => Buffer.from(part).toString('base64url')

function sign(header: string, payload: string | Uint8Array, secret: Uint8Array = SECRET): string {
  const text = `${encode(header)}.${encode(payload)}`
  return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`
}

const HEADER = '{"alg":"HS256","typ":"JWT"}'
const tokenOf = (claims: object) => sign(HEADER, JSON.stringify(claims))

/** What jose makes of it, with the two claims that the service needs besides. */
async function josesVerdict(token: string, expected: ExpectedClaims): Promise<object | undefined> {
  const options = {
    algorithms: ['HS256'],
    currentDate: new Date(expected.now),
    requiredClaims: ['sub', 'exp'],
    ...(expected.issuer === undefined ? {} : { issuer: expected.issuer }),
    ...(expected.audience === undefined ? {} : { audience: expected.audience }),
  }
  const verified = await jwtVerify(token, SECRET, options).catch(() => undefined)
  return verified && { sub: verified.payload.sub, exp: verified.payload.exp }
}

describe('a plain token', () => {
  it.each([
    HEADER,
    '{"typ":"JWT","alg":"HS256"}',
    '{"alg":"HS256"}',
  ])('is recognised with the header %s', (header) => {
    expect(plain(sign(header, JSON.stringify(GOOD)), EXPECTED)).toEqual(GOOD)
  })

  it('is recognised with the issuer and the audience that are expected', () => {
    const expected = { ...EXPECTED, issuer: 'us', audience: 'them' }
    expect(plain(tokenOf({ ...GOOD, iss: 'us', aud: 'them' }), expected)).toEqual(GOOD)
  })

  it.each<[string, string]>([
    ['another secret', sign(HEADER, JSON.stringify(GOOD), Buffer.alloc(32))],
    ['no signature', `${tokenOf(GOOD).split('.', 2).join('.')}.`],
    ['a critical extension', sign('{"alg":"HS256","crit":["b64"],"b64":false}', JSON.stringify(GOOD))],
    ['no algorithm', sign('{"alg":"none"}', JSON.stringify(GOOD))],
    ['another algorithm', sign('{"alg":"HS512"}', JSON.stringify(GOOD))],
    ['an end that has come', tokenOf({ ...GOOD, exp: NOW_S })],
    ['no end', tokenOf({ sub: 'alice' })],
    ['an end that is a text', tokenOf({ ...GOOD, exp: String(GOOD.exp) })],
    ['a beginning', tokenOf({ ...GOOD, nbf: NOW_S + 30 })],
    ['a time of issue that is a text', tokenOf({ ...GOOD, iat: 'now' })],
    ['no user', tokenOf({ exp: GOOD.exp })],
    ['claims that are a list', sign(HEADER, JSON.stringify([GOOD]))],
    [
      'claims that are not UTF-8',
      sign(HEADER, Buffer.from(JSON.stringify({ ...GOOD, sub: '\xe9' }), 'latin1')),
    ],
    ['claims that are not JSON', sign(HEADER, '{"sub":"alice",')],
  ])('is not recognised with %s', (_, token) => {
    expect(plain(token, EXPECTED)).toBeUndefined()
  })

  it.each([
    ['issuer', { iss: 'them' }],
    ['audience', { aud: ['them'] }],
  ])('is not recognised with another %s than the one expected', (claim, claims) => {
    expect(plain(tokenOf({ ...GOOD, ...claims }), { ...EXPECTED, [claim]: 'us' })).toBeUndefined()
    expect(plain(tokenOf(GOOD), { ...EXPECTED, [claim]: 'us' })).toBeUndefined()
  })

  it('is not recognised with one character of it changed', () => {
    const token = tokenOf(GOOD)
    for (let i = 0; i < token.length; i += 1) {
      const other = token[i] === 'A' ? 'B' : 'A'
      const changed = token.slice(0, i) + other + token.slice(i + 1)
      // The last character of 32 bytes has two bits that mean nothing; isCompactJws() refuses the texts that use them.
      if (i < token.length - 1) expect(plain(changed, EXPECTED), changed).toBeUndefined()
    }
  })
})

it('never says yes where jose says no', async () => {
  const likely = <T, U>(common: fc.Arbitrary<T>, odd: fc.Arbitrary<U>) =>
    fc.oneof({ weight: 4, arbitrary: common }, { weight: 1, arbitrary: odd })
  const time = likely(
    fc.constantFrom(NOW_S + 60, NOW_S + 0.5, NOW_S, NOW_S - 1, 1e300),
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
  const payload = fc.oneof(
    claims.map((value) => JSON.stringify(value)),
    fc.json(),
    fc.uint8Array(),
  )
  const header = fc.oneof(
    {
      weight: 4,
      arbitrary: fc.constantFrom(HEADER, '{"alg":"HS256"}', '{"alg":"HS256","b64":true,"crit":["b64"]}'),
    },
    { weight: 1, arbitrary: fc.json() },
  )
  const expected: fc.Arbitrary<ExpectedClaims> = fc.record({
    issuer: fc.constantFrom(undefined, 'us'),
    audience: fc.constantFrom(undefined, 'us'),
    now: fc.constant(EXPECTED.now),
  })
  let recognised = 0
  await fc.assert(
    fc.asyncProperty(header, payload, expected, async (head, body, wanted) => {
      const token = sign(head, body)
      const verdict = plain(token, wanted)
      if (verdict === undefined) return
      recognised += 1
      expect(await josesVerdict(token, wanted)).toEqual(verdict)
    }),
    { numRuns: 4000, examples: [[HEADER, JSON.stringify(GOOD), EXPECTED]] },
  )
  expect(recognised).toBeGreaterThan(3)
})
