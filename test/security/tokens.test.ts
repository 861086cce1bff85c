import { createHmac } from 'node:crypto'
import { type CryptoKey, exportSPKI, importJWK } from 'jose'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { call, type Reply } from '../support/api.ts'
import { type Instance, startInstance } from '../support/instance.ts'
import { createSigningKey, KeySetServer, type SigningKey } from '../support/key-set-server.ts'
import { TEST_SECRET } from '../support/token.ts'
import { FuzzClient } from './fuzz/client.ts'
import { countCases } from './support/full.ts'

const ISSUER = 'https://issuer.example'
const AUDIENCE = 'glimpse'
const UNKNOWN_STORY = '/stories/00000000-0000-4000-8000-000000000000'
const soon = () => Math.floor(Date.now() / 1000) + 3600
const GOOD = () => ({ sub: 'mallory', exp: soon(), iss: ISSUER, aud: AUDIENCE })

const encode = (part: unknown) =>
  Buffer.from(typeof part === 'string' ? part : JSON.stringify(part)).toString('base64url')

/** Signs anything, also what no library would. */
function hmac(
  claims: unknown,
  header: object = { alg: 'HS256' },
  secret: string | Buffer = TEST_SECRET,
): string {
  const input = `${encode(header)}.${encode(claims)}`
  return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`
}

/** Tokens that a sloppy verifier might take: none is signed as it must be. */
function forgeries(): Record<string, string> {
  const good = hmac(GOOD())
  const [header = '', payload = '', signature = ''] = good.split('.')
  const none = (alg: string, end = '') => `${encode({ alg })}.${payload}.${end}`
  return {
    'alg none': none('none'),
    'alg None': none('None'),
    'alg nOnE with a signature': none('nOnE', signature),
    'no alg': hmac(GOOD(), {}),
    'alg null': hmac(GOOD(), { alg: null }),
    'alg as a list': hmac(GOOD(), { alg: ['HS256'] }),
    'alg of another hash': hmac(GOOD(), { alg: 'HS512' }),
    'alg in lower case': hmac(GOOD(), { alg: 'hs256' }),
    'alg RS256': hmac(GOOD(), { alg: 'RS256' }),
    'an empty secret': hmac(GOOD(), { alg: 'HS256' }, ''),
    'another secret': hmac(GOOD(), { alg: 'HS256' }, 'x'.repeat(32)),
    'its own key (jwk)': hmac(
      GOOD(),
      { alg: 'HS256', jwk: { kty: 'oct', k: encode('x'.repeat(32)) } },
      'x'.repeat(32),
    ),
    'no signature': `${header}.${payload}.`,
    'two parts': `${header}.${payload}`,
    'four parts': `${good}.${signature}`,
    'five parts (JWE)': `${header}....${signature}`,
    'two payloads in turn': `${header}.${encode({ ...GOOD(), sub: 'alice' })}.${signature}`,
    'the signature cut': good.slice(0, -1),
    'the signature longer': `${good}A`,
    'the signature with stray bits': good.slice(0, -1) + successor(good.at(-1) ?? ''),
    'padded base64': `${good}=`,
    'base64 instead of base64url': `${header}.${payload}.${Buffer.from(signature, 'base64url').toString('base64')}`,
    'header in an array': `${encode([{ alg: 'HS256' }])}.${payload}.${signature}`,
    'an unknown critical header': hmac(GOOD(), { alg: 'HS256', crit: ['x'], x: 1 }),
    'an unencoded payload': hmac(GOOD(), { alg: 'HS256', crit: ['b64'], b64: false }),
    'longer than 8 KiB, signed well': hmac({ ...GOOD(), pad: 'x'.repeat(6200) }),
    'garbage of 9,000 characters': 'a'.repeat(9000),
    'nothing but dots': '..',
    'a word': 'x',
  }
}

/** Tokens that are signed well and say what they must not. */
function misfits(secret = TEST_SECRET): Record<string, string> {
  const signed = (claims: unknown) => hmac(claims, { alg: 'HS256' }, secret)
  const without = (name: string) => Object.fromEntries(Object.entries(GOOD()).filter(([key]) => key !== name))
  return {
    'claims that are no object': signed('[]'),
    'claims that are no JSON': signed('{'),
    'no exp': signed(without('exp')),
    'exp as a text': signed({ ...GOOD(), exp: String(soon()) }),
    'exp without end': signed(`{"sub":"mallory","iss":"${ISSUER}","aud":"${AUDIENCE}","exp":1e999}`),
    'exp gone by': signed({ ...GOOD(), exp: soon() - 7200 }),
    'exp negative': signed({ ...GOOD(), exp: -1 }),
    'nbf to come': signed({ ...GOOD(), nbf: soon() }),
    'no sub': signed(without('sub')),
    'sub empty': signed({ ...GOOD(), sub: '' }),
    'sub a number': signed({ ...GOOD(), sub: 1 }),
    'sub an object': signed({ ...GOOD(), sub: { toString: 'alice' } }),
    'sub with a NUL': signed({ ...GOOD(), sub: 'alice\0' }),
    'sub too long': signed({ ...GOOD(), sub: 'x'.repeat(256) }),
    'no iss': signed(without('iss')),
    'another iss': signed({ ...GOOD(), iss: `${ISSUER}/` }),
    'iss as a list': signed({ ...GOOD(), iss: [ISSUER] }),
    'no aud': signed(without('aud')),
    'another aud': signed({ ...GOOD(), aud: ['Glimpse'] }),
  }
}

/** The next character of the base64url alphabet: as the last one of a signature it changes bits that are not used. */
function successor(last: string): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  return alphabet[alphabet.indexOf(last) + 1] ?? ''
}

/** All that a caller can tell refusals apart by. */
const visible = ({ status, text, headers }: Pick<Reply, 'status' | 'text' | 'headers'>) =>
  JSON.stringify([status, text, headers.get('www-authenticate'), headers.get('content-type')])

/** Every way in that there is, with this token. */
async function tryEverywhere(url: string, client: FuzzClient, token: string): Promise<string[]> {
  const query = encodeURIComponent(token)
  const handshake = {
    connection: 'Upgrade',
    upgrade: 'websocket',
    'sec-websocket-version': '13',
    'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
  }
  const send = (target: string, headers: Record<string, string>) =>
    client.send({ method: 'GET', target, headers, body: Buffer.alloc(0) })
  const replies = await Promise.all([
    send(UNKNOWN_STORY, { authorization: `Bearer ${token}` }),
    send(UNKNOWN_STORY, { cookie: `glimpse_token=${token}` }),
    send('/events', { authorization: `Bearer ${token}` }),
    send(`/events?token=${query}`, {}),
    send(`/events?ticket=${query}`, {}),
    send(`/ws?token=${query}`, handshake),
    send('/ws', { ...handshake, authorization: `Bearer ${token}` }),
    call(url, '/tickets', { method: 'POST', token }),
  ])
  return replies.map(visible)
}

describe('with a secret', () => {
  let instance: Instance
  let client: FuzzClient
  beforeAll(async () => {
    instance = await startInstance({ JWT_ISSUER: ISSUER, JWT_AUDIENCE: AUDIENCE })
    client = new FuzzClient(instance.url)
  })
  afterAll(async () => {
    client.close()
    await instance.close()
  })

  it('a good token gets in everywhere but as a ticket, so that the others are refused for what they are', async () => {
    const statuses = (await tryEverywhere(instance.url, client, hmac(GOOD()))).map(
      (reply) => JSON.parse(reply)[0],
    )
    expect(statuses).toEqual([404, 404, 200, 200, 401, 101, 101, 201])
  })

  it('every forgery is refused with the same 401 everywhere', async (context) => {
    const answers = new Map<string, string[]>()
    for (const [what, token] of Object.entries(forgeries()))
      for (const answer of await tryEverywhere(instance.url, client, token))
        answers.set(answer, [...(answers.get(answer) ?? []), what])
    expect([...answers.keys()].map((answer) => JSON.parse(answer)[0])).toEqual([401])
    countCases(context, [...answers.values()].flat().length)
  })

  it('claims that do not fit are explained to those who hold a signed token, and to nobody else', async (context) => {
    const strangers = misfits('a secret of somebody else, of 32 bytes')
    const [forged] = await tryEverywhere(instance.url, client, 'x')
    let cases = 0
    for (const [what, token] of Object.entries(misfits())) {
      const answers = await tryEverywhere(instance.url, client, token)
      expect([...new Set(answers.map((answer) => JSON.parse(answer)[0]))], what).toEqual([401])
      // The fifth way in is a ticket, which is no token at all.
      expect(new Set(answers.filter((_, i) => i !== 4)).size, what).toBe(1)
      expect(answers[0], what).not.toBe(forged)
      expect(new Set(await tryEverywhere(instance.url, client, strangers[what] ?? '')), what).toEqual(
        new Set([forged]),
      )
      cases += 2 * answers.length
    }
    countCases(context, cases)
  })
})

describe('with a key set', () => {
  let instance: Instance
  let keys: KeySetServer
  let elsewhere: KeySetServer
  let rsa: SigningKey
  let stranger: SigningKey
  let client: FuzzClient
  beforeAll(async () => {
    rsa = await createSigningKey('RS256', 'known')
    stranger = await createSigningKey('RS256', 'known')
    keys = await KeySetServer.start(rsa)
    elsewhere = await KeySetServer.start(stranger)
    instance = await startInstance({ JWT_SECRET: '', JWKS_URL: keys.url })
    client = new FuzzClient(instance.url)
    expect((await ask(await rsa.sign())).status).toBe(404)
  })
  afterAll(async () => {
    client.close()
    await instance.close()
    await keys.close()
    await elsewhere.close()
  })

  const ask = (token: string) => call(instance.url, UNKNOWN_STORY, { token })

  it('nobody brings their own key, and no public key is a secret', async (context) => {
    const spki = await exportSPKI((await importJWK(rsa.jwk, 'RS256', { extractable: true })) as CryptoKey)
    const signedBy = (header: Record<string, unknown>) => stranger.sign({ sub: 'mallory' }, header)
    const tokens = await Promise.all([
      signedBy({}),
      signedBy({ jwk: stranger.jwk }),
      signedBy({ jku: elsewhere.url }),
      signedBy({ x5u: elsewhere.url }),
      signedBy({ x5c: [encode('certificate')] }),
      signedBy({ kid: elsewhere.url }),
      ...[spki, spki.trim(), `${spki}\n`, JSON.stringify(rsa.jwk), rsa.jwk.n ?? '', ''].map((secret) =>
        hmac(GOOD(), { alg: 'HS256', kid: 'known' }, secret),
      ),
      ...[
        '../../../../dev/null',
        "' OR 1=1 --",
        '$(id)',
        '\0',
        '__proto__',
        'constructor',
        'x'.repeat(3000),
      ].map((kid) => hmac(GOOD(), { alg: 'HS256', kid }, '')),
      ...[1, null, {}, ['known'], true].map((kid) => signedBy({ kid })),
    ])
    const answers = (
      await Promise.all(tokens.map((token) => tryEverywhere(instance.url, client, token)))
    ).flat()
    expect(new Set(answers).size).toBe(1)
    expect(JSON.parse(answers[0] ?? '')[0]).toBe(401)
    expect(elsewhere.requests).toBe(0)
    countCases(context, answers.length)
  })

  it('500 keys that nobody knows make one fetch at most, and no other user wait', async (context) => {
    const before = keys.requests
    // A fetch now takes as long as it may.
    keys.answer(() => {})
    const known = await rsa.sign({ sub: 'bob' })
    const unknown = await Promise.all(
      Array.from({ length: 500 }, (_, i) => stranger.sign({ sub: 'mallory' }, { kid: `unknown-${i}` })),
    )
    const waiting = Promise.all(unknown.map(ask))
    for (let i = 0; i < 20; i += 1) expect((await ask(known)).status).toBe(404)
    expect((await ask(await rsa.sign({ sub: 'carol' }))).status).toBe(404)
    const statuses = new Set((await waiting).map(({ status }) => status))
    expect([...statuses]).toEqual([401])
    expect(keys.requests - before).toBeLessThanOrEqual(1)
    countCases(context, unknown.length)
  })

  it('known keys go on working where the endpoint is gone', async () => {
    await keys.close()
    expect((await ask(await rsa.sign({ sub: 'dave' }))).status).toBe(404)
    expect((await ask(await stranger.sign({ sub: 'mallory' }))).status).toBe(401)
  })
})
