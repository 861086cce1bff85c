import { createHmac } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { createPlainTokens } from '../../src/auth/plain-token.ts'

const SECRET = new TextEncoder().encode('a secret of the tests, 32 bytes or more')
const CLAIMS = '{"sub":"alice","exp":1800000060}'
const HEADER = '{"alg":"HS256","typ":"JWT"}'
const plain = (token: string) => createPlainTokens(SECRET)(token)

function sign(header: string, payload: string | Uint8Array = CLAIMS, secret: Uint8Array = SECRET): string {
  const text = [header, payload].map((part) => Buffer.from(part).toString('base64url')).join('.')
  return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`
}

describe('a plain token', () => {
  it.each([
    HEADER,
    '{"typ":"JWT","alg":"HS256"}',
    '{"alg":"HS256"}',
  ])('is recognised with the header %s', (header) => {
    expect(plain(sign(header))?.toString()).toBe(CLAIMS)
  })

  it('gives its payload as it is, whatever that is', () => {
    expect(plain(sign(HEADER, Buffer.from([0xe9, 0, 0xff])))).toEqual(Buffer.from([0xe9, 0, 0xff]))
  })

  it.each<[string, string]>([
    ['another secret', sign(HEADER, CLAIMS, Buffer.alloc(32))],
    ['no signature', `${sign(HEADER).split('.', 2).join('.')}.`],
    ['a critical extension', sign('{"alg":"HS256","crit":["b64"],"b64":false}')],
    ['no algorithm', sign('{"alg":"none"}')],
    ['another algorithm', sign('{"alg":"HS512"}')],
    ['nothing after its header', sign(HEADER).split('.', 1).join()],
    ['a key id', sign('{"alg":"HS256","kid":"k"}')],
  ])('is not recognised with %s', (_, token) => {
    expect(plain(token)).toBeUndefined()
  })

  it('is not recognised with one character of it changed', () => {
    const token = sign(HEADER)
    for (let i = 0; i < token.length; i += 1) {
      const changed = token.slice(0, i) + (token[i] === 'A' ? 'B' : 'A') + token.slice(i + 1)
      // The last character of 32 bytes has two bits that mean nothing; isCompactJws() refuses the texts that use them.
      if (i < token.length - 1) expect(plain(changed), changed).toBeUndefined()
    }
  })
})
