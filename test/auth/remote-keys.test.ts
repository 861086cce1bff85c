import { createHmac } from 'node:crypto'
import { type CryptoKey, exportJWK, exportSPKI, importJWK, SignJWT } from 'jose'
import { describe, expect, it, vi } from 'vitest'
import { createSigningKey, KeySetServer } from '../support/key-set-server.ts'
import { HOUR, keySetWorld, MINUTE, SECOND } from '../support/key-set-world.ts'

const world = keySetWorld()

describe('tokens of a key set', () => {
  it.each([
    ...(['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'] as const),
    ...(['ES256', 'ES384', 'ES512', 'EdDSA'] as const),
  ])('are verified with %s', async (alg) => {
    const key = await createSigningKey(alg, 'k')
    world.server.publish(world.one, key)
    expect(await world.verifier.verify(await world.tokenOf(key, 'bob'))).toMatchObject({ user: 'bob' })
  })

  it.each(['RS256', 'ES256'] as const)('are not HMACs keyed with the public %s key', async (alg) => {
    const key = await createSigningKey(alg, 'k')
    world.server.publish(key)
    await world.verifier.verify(await world.tokenOf(key))
    const publicKey = (await importJWK(key.jwk, alg, { extractable: true })) as CryptoKey
    const pem = await exportSPKI(publicKey)
    for (const secret of [pem, `${pem}\n`, JSON.stringify(key.jwk), key.jwk.n ?? key.jwk.x ?? ''])
      await world.refused(hmacToken(secret, 'k'))
  })

  it('are not HMACs keyed with a symmetric key that was published by mistake', async () => {
    const k = Buffer.from('a secret that everybody can read').toString('base64url')
    world.server.answer(JSON.stringify({ keys: [world.one.jwk, { kty: 'oct', kid: 'k', alg: 'HS256', k }] }))
    await world.verifier.verify(await world.tokenOf(world.one))
    await world.refused(hmacToken(Buffer.from(k, 'base64url'), 'k'))
  })

  it('are not verified with another algorithm than the key says', async () => {
    const rsa = await createSigningKey('RS256', 'k')
    world.server.publish(rsa)
    const exp = Math.floor(world.now / 1000) + 3600
    const sign = async (alg: string) =>
      new SignJWT({ sub: 'eve', exp })
        .setProtectedHeader({ alg, kid: 'k' })
        .sign(await importJWK(await exportJWK(rsa.privateKey), alg))
    await world.verifier.verify(await sign('RS256'))
    await world.refused(await sign('PS256'))
    await world.refused(await sign('RS512'))
    // A key that says none may be used with each that its kind knows.
    const { alg: _, ...jwk } = rsa.jwk
    world.server.answer(JSON.stringify({ keys: [jwk] }))
    world.now += 10 * MINUTE
    await world.verifier.warm()
    for (const alg of ['RS256', 'RS512', 'PS256', 'PS384']) await world.verifier.verify(await sign(alg))
  })

  it('do not bring their own key', async () => {
    const attacker = await createSigningKey('ES256', 'one')
    const theirs = await KeySetServer.start(attacker)
    try {
      for (const header of [{ jwk: attacker.jwk }, { jku: theirs.url }, { x5u: theirs.url }])
        await world.refused(await world.tokenOf(attacker, 'eve', header))
      expect(theirs.requests).toBe(0)
    } finally {
      await theirs.close()
    }
  })

  it.each([
    ['without a key id', undefined, undefined],
    ['with the same key id', 'same', undefined],
    ['without a key id, for tokens that name one', undefined, 'named'],
    ['that their tokens do not name', 'published', ''],
  ])('are verified by each of several keys %s', async (_, kid, named) => {
    const keys = [
      await createSigningKey('ES256', kid),
      await createSigningKey('RS256', kid),
      await createSigningKey('ES256', kid),
    ]
    world.server.publish(...keys)
    for (const key of keys)
      await world.verifier.verify(
        await world.tokenOf(key, 'alice', named === undefined ? {} : { kid: named || undefined }),
      )
    await world.refused(await world.tokenOf(await createSigningKey('ES256', kid)))
  })

  it('are verified by a good key beside one that cannot be read', async () => {
    const key = await createSigningKey('ES256', 'k')
    world.server.answer(
      JSON.stringify({ keys: [{ kty: 'EC', crv: 'P-256', kid: 'k', x: 'AA', y: 'AA' }, key.jwk] }),
    )
    await world.verifier.verify(await world.tokenOf(key))
  })

  it('are not verified with a key for encryption', async () => {
    const key = await createSigningKey('RS256', 'k')
    world.server.answer(JSON.stringify({ keys: [{ ...key.jwk, use: 'enc' }] }))
    await world.refused(await world.tokenOf(key))
  })
})

describe('fetching', () => {
  it('is not repeated for a token whose key the fetch that it waited for did not bring', async () => {
    await world.refused(await world.tokenOf(world.two))
    expect(world.server.requests).toBe(1)
  })

  it('does not happen before it is needed', async () => {
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(world.server.requests).toBe(0)
  })

  it('happens ahead of the first token with warm()', async () => {
    await world.verifier.warm()
    expect(world.server.requests).toBe(1)
    await world.verifier.verify(await world.tokenOf(world.one))
    expect(world.server.requests).toBe(1)
  })

  it('ends with close()', async () => {
    await world.verifier.close()
    await world.verifier.warm()
    expect(world.server.requests).toBe(0)
  })

  it('happens once for all tokens that come at the same time', async () => {
    const tokens = await Promise.all(
      Array.from({ length: 50 }, (_, i) => world.tokenOf(world.one, `user ${i}`)),
    )
    await Promise.all(tokens.map((token) => world.verifier.verify(token)))
    expect(world.server.requests).toBe(1)
  })

  it('happens again, once, when a new key has signed', async () => {
    await world.verifier.verify(await world.tokenOf(world.one))
    world.server.publish(world.one, world.two)
    const tokens = await Promise.all(
      Array.from({ length: 50 }, (_, i) => world.tokenOf(world.two, `user ${i}`)),
    )
    await Promise.all(tokens.map((token) => world.verifier.verify(token)))
    await world.verifier.verify(await world.tokenOf(world.one))
    expect(world.server.requests).toBe(2)
  })

  it('happens at most every 30 seconds for keys that nobody knows', async () => {
    await world.verifier.verify(await world.tokenOf(world.one))
    for (let i = 0; i < 10; i += 1) await world.refused(await world.tokenOf(world.two))
    expect(world.server.requests).toBe(2)
    world.now += 30 * SECOND - 1
    await world.refused(await world.tokenOf(world.two))
    expect(world.server.requests).toBe(2)
    world.now += 1
    await world.refused(await world.tokenOf(world.two))
    expect(world.server.requests).toBe(3)
  })

  it('is not asked for by tokens that no key could save', async () => {
    await world.verifier.verify(await world.tokenOf(world.one))
    await world.refused(await world.one.sign({ exp: 1 }), 'The access token has expired.')
    await world.refused(hmacToken('x'.repeat(32), 'one'))
    await world.refused('garbage')
    expect(world.server.requests).toBe(1)
  })

  it('notices a new key under an old id, and a new only key without an id', async () => {
    for (const kid of ['same', undefined]) {
      const [before, after] = [await createSigningKey('ES256', kid), await createSigningKey('ES256', kid)]
      world.server.publish(before)
      world.now += 1 * MINUTE
      await world.verifier.verify(await world.tokenOf(before))
      world.server.publish(after)
      world.now += 1 * MINUTE
      await world.verifier.verify(await world.tokenOf(after))
      await world.refused(await world.tokenOf(before))
    }
  })

  it('happens in the background after 10 minutes, while the keys at hand serve on', async () => {
    const [first, second] = [
      await world.tokenOf(world.one, 'first'),
      await world.tokenOf(world.one, 'second'),
    ]
    await world.verifier.verify(first)
    let release = () => {}
    world.server.answer((response) => {
      release = () => response.end(JSON.stringify({ keys: [world.two.jwk] }))
    })
    world.now += 10 * MINUTE - 1
    expect(world.verifier.cached(first)).toBeDefined()
    world.now += 1
    expect(world.verifier.cached(first)).toBeDefined()
    await world.verifier.verify(second)
    await vi.waitFor(() => expect(world.server.requests).toBe(2), 20_000)
    world.server.publish(world.two)
    release()
    await vi.waitFor(() => expect(world.verifier.cached(first)).toBeUndefined(), 20_000)
    await world.refused(first)
  })

  it('keeps what it remembers where the key set is the same as before', async () => {
    const token = await world.tokenOf(world.one)
    const identity = await world.verifier.verify(token)
    world.now += 10 * MINUTE
    await world.verifier.warm()
    expect(world.server.requests).toBe(2)
    expect(world.verifier.cached(token)).toBe(identity)
  })

  it('is waited for after a quiet time: a removed key does not come back to life', async () => {
    const token = await world.tokenOf(world.one)
    await world.verifier.verify(token)
    world.server.publish(world.two)
    world.now += 3 * HOUR
    expect(world.verifier.cached(token)).toBeUndefined()
    await world.refused(token)
    await world.verifier.verify(await world.tokenOf(world.two))
    expect(world.server.requests).toBe(2)
  })

  it('believes a set without keys: nobody gets in any more', async () => {
    const token = await world.tokenOf(world.one)
    await world.verifier.verify(token)
    world.server.publish()
    world.now += 10 * MINUTE
    await world.verifier.warm()
    expect(world.verifier.cached(token)).toBeUndefined()
    await world.refused(token)
  })
})

describe('several key sets', () => {
  const SECRET = 'a secret of the tests, 32 bytes or more'

  it('verify each its own tokens, beside a secret', async () => {
    const other = await KeySetServer.start(world.two)
    try {
      await world.restart([world.server.url, other.url], [SECRET])
      for (const token of [
        await world.tokenOf(world.one),
        await world.tokenOf(world.two),
        hmacToken(SECRET, 'one', 'alice'),
      ]) {
        const identity = await world.verifier.verify(token)
        expect(identity.user).toBe('alice')
        expect(world.verifier.cached(token)).toBe(identity)
      }
      await world.refused(await world.tokenOf(await createSigningKey('ES256', 'three')))
      await world.refused(hmacToken('x'.repeat(32), 'one'))
    } finally {
      await other.close()
    }
  })

  it('do not wait for one that is away, except for tokens that it may have signed', async () => {
    const other = await KeySetServer.start(world.two)
    other.answer((response) => response.writeHead(500).end())
    try {
      await world.restart([other.url, world.server.url], [SECRET])
      await world.verifier.warm()
      const asked = other.requests
      await world.verifier.verify(await world.tokenOf(world.one))
      await world.verifier.verify(hmacToken(SECRET, 'k', 'alice'))
      expect(other.requests).toBe(asked)
      await world.unavailable(await world.tokenOf(world.two))
      await world.refused(hmacToken('x'.repeat(32), 'one'))
      other.publish(world.two)
      world.now += 1 * MINUTE
      await world.verifier.verify(await world.tokenOf(world.two))
    } finally {
      await other.close()
    }
  })

  it('that are away are asked about again as soon as the first of them may be; keys of a day ago verify nothing', async () => {
    const other = await KeySetServer.start()
    const fail = (server: KeySetServer) => server.answer((response) => response.writeHead(500).end())
    try {
      fail(other)
      await world.restart([world.server.url, other.url])
      const token = await world.tokenOf(world.one)
      await world.verifier.verify(token)
      fail(world.server)
      world.now += 25 * HOUR
      // The second failed before, so its pause is the longer one.
      await expect(world.verifier.verify(token)).rejects.toMatchObject({
        code: 'unavailable',
        details: { detail: 'Tokens cannot be verified right now.', retryAfter: 1 },
      })
    } finally {
      await other.close()
    }
  })

  it('forget their tokens each by itself', async () => {
    const other = await KeySetServer.start(world.two)
    try {
      await world.restart([world.server.url, other.url])
      const [first, second] = [await world.tokenOf(world.one), await world.tokenOf(world.two)]
      await world.verifier.verify(first)
      await world.verifier.verify(second)
      other.publish()
      world.now += 10 * MINUTE
      await world.verifier.warm()
      expect(world.verifier.cached(first)).toBeDefined()
      expect(world.verifier.cached(second)).toBeUndefined()
      await world.refused(second)
    } finally {
      await other.close()
    }
  })
})

function hmacToken(secret: string | Buffer, kid: string, sub = 'eve'): string {
  const input = [
    { alg: 'HS256', kid },
    { sub, exp: 99_999_999_999 },
  ]
    .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
    .join('.')
  return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`
}
