import { createHmac } from 'node:crypto'
import { inspect } from 'node:util'
import { SignJWT } from 'jose'
import { pino } from 'pino'
import { describe, expect, it } from 'vitest'
import { createTokenVerifier, type TokenVerifierOptions } from '../../src/auth/verifier.ts'
import { GlimpseError, StartError } from '../../src/errors.ts'
import { createLogger } from '../../src/observability/log.ts'

const SECRET = 'a secret of the tests, 32 bytes or more'
const NOW = 1_800_000_000_000
const log = createLogger('silent')

const verifierWith = (options: Partial<TokenVerifierOptions> = {}) =>
  createTokenVerifier({ secrets: [SECRET], now: () => NOW, log, ...options })

/** Signs anything, also what no JWT library would. */
function token(claims: unknown, header: object = { alg: 'HS256' }, secret: string | Buffer = SECRET): string {
  const text = typeof claims === 'string' ? claims : JSON.stringify(claims)
  const parts = [JSON.stringify(header), text].map((part) => Buffer.from(part).toString('base64url'))
  const hash = { HS384: 'sha384', HS512: 'sha512' }[(header as { alg: string }).alg] ?? 'sha256'
  const signature = createHmac(hash, secret).update(parts.join('.')).digest('base64url')
  return [...parts, signature].join('.')
}

const GOOD = { sub: 'alice', exp: NOW / 1000 + 60 }

const NOT_VALID = 'The access token is not valid.'

/** How every bad token fails; the words tell more only where its signature was verified. */
async function rejection(verifying: Promise<unknown>, words?: string): Promise<GlimpseError> {
  const error = await verifying.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  expect(error).toBeInstanceOf(GlimpseError)
  expect(error).toMatchObject({ code: 'unauthorized', details: { invalidToken: true } })
  if (words !== undefined) expect(error).toMatchObject({ message: words })
  return error as GlimpseError
}

describe('a token that is good', () => {
  it('gives its user and its end in milliseconds', async () => {
    expect(await verifierWith().verify(token(GOOD))).toEqual({ user: 'alice', expiresAt: NOW + 60_000 })
  })

  it('is known without a promise where a secret signed it, and refused at once where its claims are bad', () => {
    expect(verifierWith().identify(token(GOOD))).toEqual({ user: 'alice', expiresAt: NOW + 60_000 })
    const refusal = expect.objectContaining({
      code: 'unauthorized',
      message: 'The access token has expired.',
    })
    expect(() => verifierWith().identify(token({ ...GOOD, exp: 1 }))).toThrow(refusal)
  })

  it('may be signed by any JWT library with the same secret, as text or as bytes', async () => {
    const bytes = new TextEncoder().encode(SECRET)
    const signed = await new SignJWT({ sub: 'bob', exp: NOW / 1000 + 60 })
      .setProtectedHeader({ alg: 'HS256' })
      .sign(bytes)
    expect(await verifierWith({ secrets: [bytes] }).verify(signed)).toMatchObject({ user: 'bob' })
    expect(await verifierWith({ secrets: [SECRET] }).verify(signed)).toMatchObject({ user: 'bob' })
  })

  it.each([
    ['255 characters', 'x'.repeat(255)],
    ['255 emoji', '🦊'.repeat(255)],
    ['spaces', 'a b'],
  ])('may have a sub of %s', async (_, sub) => {
    expect(await verifierWith().verify(token({ ...GOOD, sub }))).toMatchObject({ user: sub })
  })

  it('may end on a fraction of a second', async () => {
    const { expiresAt } = await verifierWith().verify(token({ ...GOOD, exp: NOW / 1000 + 1.5 }))
    expect(expiresAt).toBe(NOW + 1500)
  })

  it('never ends later than a Date can say', async () => {
    const { expiresAt } = await verifierWith().verify(token({ ...GOOD, exp: 1e300 }))
    expect(new Date(expiresAt).toISOString()).toMatch(/^\+275760/)
  })

  it('is judged by the clock it was given', async () => {
    for (const now of [1e12, 4e12]) {
      const verifier = verifierWith({ now: () => now })
      const claims = { sub: 'alice', nbf: now / 1000, exp: now / 1000 + 1 }
      expect(await verifier.verify(token(claims))).toMatchObject({ expiresAt: now + 1000 })
    }
  })

  it('may carry an iss and an aud that nobody asked for', async () => {
    await verifierWith().verify(token({ ...GOOD, iss: 'anyone', aud: ['x', 'y'] }))
  })

  it('is held to iss and aud where they are configured', async () => {
    const verifier = verifierWith({ issuers: ['https://issuer.example'], audiences: ['glimpse'] })
    const claims = { ...GOOD, iss: 'https://issuer.example' }
    await verifier.verify(token({ ...claims, aud: 'glimpse' }))
    await verifier.verify(token({ ...claims, aud: ['other', 'glimpse'] }))
    for (const bad of [
      { ...claims },
      { ...claims, aud: 'Glimpse' },
      { ...claims, aud: ['glimpse2'] },
      { ...claims, aud: 'glimpse', iss: 'https://issuer.example/' },
      { ...GOOD, aud: 'glimpse' },
    ])
      await rejection(verifier.verify(token(bad)))
  })
})

describe('a token that is refused', () => {
  const good = token(GOOD)
  const [header, payload, signature] = good.split('.') as [string, string, string]
  const none = Buffer.from('{"alg":"none"}').toString('base64url')

  it.each<[string, string]>([
    ['empty', ''],
    ['no JWT', 'hello'],
    ['two parts', `${header}.${payload}`],
    ['four parts', `${good}.x`],
    ['an empty signature', `${header}.${payload}.`],
    ['alg none, unsigned', `${none}.${payload}.`],
    ['alg none, with a signature', `${none}.${payload}.${signature}`],
    ['alg NONE', `${Buffer.from('{"alg":"NONE"}').toString('base64url')}.${payload}.`],
    ['no alg', token(GOOD, {})],
    ['HS384, with the right secret', token(GOOD, { alg: 'HS384' })],
    ['HS512, with the right secret', token(GOOD, { alg: 'HS512' })],
    ['RS256', token(GOOD, { alg: 'RS256' })],
    ['another secret', token(GOOD, { alg: 'HS256' }, 'another secret of 32 bytes or more')],
    ['a changed payload', `${header}.${Buffer.from('{"sub":"eve"}').toString('base64url')}.${signature}`],
    [
      'a changed signature',
      `${header}.${payload}.${signature.startsWith('A') ? 'B' : 'A'}${signature.slice(1)}`,
    ],
    ['a good one with a blank in its signature', `${header}.${payload}. ${signature}`],
    ['a good one with padding', `${good}=`],
    ['an unknown critical header', token(GOOD, { alg: 'HS256', crit: ['x'], x: 1 })],
    ['an unencoded payload', token(GOOD, { alg: 'HS256', crit: ['b64'], b64: false })],
  ])('in the same words, whatever is wrong: %s', async (_, bad) => {
    const error = await rejection(verifierWith().verify(bad), NOT_VALID)
    expect(error.cause).toBeInstanceOf(Error)
  })

  it.each<[string, string]>([
    ['claims that are no JSON', token('{')],
    ['claims that are an array', token([])],
    ['no exp', token({ sub: 'alice' })],
    ['exp null', token({ ...GOOD, exp: null })],
    ['exp as text', token({ ...GOOD, exp: String(GOOD.exp) })],
    ['exp endless', token('{"sub":"alice","exp":1e999}')],
    ['exp now', token({ ...GOOD, exp: NOW / 1000 })],
    ['exp long ago', token({ ...GOOD, exp: 1 })],
    ['exp negative', token({ ...GOOD, exp: -1 })],
    ['nbf in a second', token({ ...GOOD, nbf: NOW / 1000 + 1 })],
    ['nbf as text', token({ ...GOOD, nbf: '1' })],
    ['no sub', token({ exp: GOOD.exp })],
    ['sub empty', token({ ...GOOD, sub: '' })],
    ['sub of 256 characters', token({ ...GOOD, sub: 'x'.repeat(256) })],
    ['sub a number', token({ ...GOOD, sub: 7 })],
    ['sub null', token({ ...GOOD, sub: null })],
    ['sub with a NUL', token({ ...GOOD, sub: 'a\0b' })],
    ['sub with a line end', token({ ...GOOD, sub: 'a\nb' })],
    ['sub with a C1 control', token({ ...GOOD, sub: 'a\u0085b' })],
    ['sub with half an emoji', token(`{"sub":"a\\ud83d","exp":${GOOD.exp}}`)],
  ])('with the reason, because its signature is right: %s', async (_, bad) => {
    const { message } = await rejection(verifierWith().verify(bad))
    expect(message).not.toBe(NOT_VALID)
    // The same claims of a stranger tell nothing.
    const [head = '', claims = ''] = bad.split('.')
    await rejection(verifierWith().verify(`${head}.${claims}.${'A'.repeat(43)}`), NOT_VALID)
  })

  it('is named in one line of the debug log, by the rule that it broke', async () => {
    const lines: Record<string, unknown>[] = []
    const verifier = verifierWith({
      log: pino({ level: 'debug' }, { write: (line) => lines.push(JSON.parse(line)) }),
      issuers: ['us'],
    })
    for (const bad of [
      'x'.repeat(8193),
      'garbage',
      'AAAA.AAAA.AAAA',
      token(GOOD, { alg: 'HS256', crit: ['x'], x: 1 }),
      token(GOOD, { alg: 'HS384' }),
      token(GOOD, { alg: 'HS256' }, 'another secret of 32 bytes or more'),
      token({ ...GOOD, exp: 1 }),
      token({ ...GOOD, iss: 'them' }),
    ])
      await rejection(verifier.verify(bad))
    expect(lines.map(({ msg, rule, claim }) => [msg, rule, claim])).toEqual([
      ['a token was refused', 'length', undefined],
      ['a token was refused', 'format', undefined],
      ['a token was refused', 'format', undefined],
      ['a token was refused', 'critical_header', undefined],
      ['a token was refused', 'algorithm', undefined],
      ['a token was refused', 'signature', undefined],
      ['a token was refused', 'expired', 'exp'],
      ['a token was refused', 'issuer', 'iss'],
    ])
  })

  it('exp passed within the running second', async () => {
    const verifier = verifierWith({ now: () => NOW + 900 })
    await rejection(verifier.verify(token({ ...GOOD, exp: NOW / 1000 + 0.5 })))
  })

  it('longer than 8 KiB, though signed well', async () => {
    const pad = (length: number) => token({ ...GOOD, pad: 'x'.repeat(length) })
    const fits = pad(6000)
    expect(fits.length).toBeLessThan(8192)
    await verifierWith().verify(fits)
    const tooLong = pad(6200)
    expect(tooLong.length).toBeGreaterThan(8192)
    await rejection(verifierWith().verify(tooLong))
    expect(verifierWith().cached(tooLong)).toBeUndefined()
  })

  it('says why to debug logs, without the token and its claims', async () => {
    const secret = 'do-not-log-me'
    for (const bad of [
      token({ ...GOOD, sub: secret, exp: 1 }),
      token({ ...GOOD, iss: secret }),
      token({ ...GOOD, iss: 'x', sub: `${secret}\n` }),
      token(`{"${secret}`),
      `${secret}.${secret}.${secret}`,
    ]) {
      const { cause } = await rejection(verifierWith({ issuers: ['x'] }).verify(bad))
      const all = inspect(cause, { depth: null, showHidden: true })
      expect(all).toContain('[message]')
      expect(all).not.toContain(secret)
      expect(all).not.toContain(Buffer.from(secret).toString('base64url').slice(0, 12))
    }
  })
})

describe('a secret that is changed', () => {
  const OLD = 'the old secret of the tests, 32 bytes or more'
  const signed = (secret: string, header?: object) => token(GOOD, header, secret)

  it('leaves the tokens of the previous one good, plain and with a key id', async () => {
    const verifier = verifierWith({ secrets: [SECRET, OLD] })
    for (const secret of [SECRET, OLD])
      for (const header of [{ alg: 'HS256' }, { alg: 'HS256', kid: 'old' }]) {
        const good = signed(secret, header)
        const identity = await verifier.verify(good)
        expect(identity.user).toBe('alice')
        expect(verifier.cached(good)).toBe(identity)
      }
    await rejection(verifier.verify(signed('a third secret of 32 bytes or more')), NOT_VALID)
    await rejection(verifierWith({ secrets: [SECRET] }).verify(signed(OLD)), NOT_VALID)
  })
})

describe('the memory of verified tokens', () => {
  it('knows a token once it was verified, and no other', async () => {
    const verifier = verifierWith()
    const good = token(GOOD)
    expect(verifier.cached(good)).toBeUndefined()
    const identity = await verifier.verify(good)
    expect(verifier.cached(good)).toBe(identity)
    expect(await verifier.verify(good)).toBe(identity)
    expect(verifier.cached(`${good}x`)).toBeUndefined()
    expect(verifier.cached(good.slice(0, -1))).toBeUndefined()
  })

  it('never remembers a bad token', async () => {
    const verifier = verifierWith()
    const bad = token(GOOD, { alg: 'HS256' }, 'another secret of 32 bytes or more')
    await rejection(verifier.verify(bad))
    expect(verifier.cached(bad)).toBeUndefined()
  })

  it('ends with the token, to the millisecond', async () => {
    let now = NOW
    const verifier = verifierWith({ now: () => now })
    const good = token(GOOD)
    await verifier.verify(good)
    now = NOW + 59_999
    expect(verifier.cached(good)).toBeDefined()
    now = NOW + 60_000
    expect(verifier.cached(good)).toBeUndefined()
    await rejection(verifier.verify(good))
  })
})

describe('construction', () => {
  it.each([
    ['neither secret nor URL', { secrets: [] }],
    ['a secret of 31 bytes', { secrets: ['x'.repeat(31)] }],
    ['a previous secret of 31 bytes', { secrets: [SECRET, 'x'.repeat(31)] }],
  ])('is refused with %s', (_, options) => {
    expect(() => verifierWith(options)).toThrow(StartError)
  })

  it('says what is missing', () => {
    expect(() => verifierWith({ secrets: [] })).toThrow('a JWT secret or a JWKS URL is needed')
  })

  it('needs no secret beside a key set, and may have one', () => {
    const jwksUrls = ['http://127.0.0.1:1/jwks.json']
    expect(() => createTokenVerifier({ jwksUrls, log })).not.toThrow()
    expect(() => createTokenVerifier({ jwksUrls, secrets: [SECRET], log })).not.toThrow()
  })

  it('counts a secret in bytes, not in characters', () => {
    expect(() => verifierWith({ secrets: ['é'.repeat(16)] })).not.toThrow()
  })

  it('has nothing to warm or to close with a secret', async () => {
    await verifierWith().warm()
    await verifierWith().close()
  })
})
