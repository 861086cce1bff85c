import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { SignedOutError, StreamError } from '../../src/client/index.ts'
import { Tokens } from '../../src/client/tokens.ts'
import { pass } from '../support/fake-client.ts'
import { jwt } from '../support/fake-service.ts'

const ANSWER_TIMEOUT_MS = 5000
const NOW = 1_700_000_000

beforeEach(() => {
  vi.useFakeTimers()
  vi.setSystemTime(NOW * 1000)
})
afterEach(() => void vi.useRealTimers())

type Options = ConstructorParameters<typeof Tokens>[0]

function tokens(options: Options, signal = new AbortController().signal): Tokens {
  return new Tokens(options, signal, ANSWER_TIMEOUT_MS)
}

/** Tokens of alice, one after the other; each names its number. */
function series() {
  const asked: boolean[] = []
  const given = [1, 2, 3].map((n) => jwt({ sub: 'alice', n }))
  const getToken = ({ refused }: { readonly refused: boolean }) => given[asked.push(refused) - 1] ?? ''
  return { asked, given, getToken }
}

describe('a token', () => {
  it('is taken without the white space around it', () => {
    expect(tokens({ token: ' a.b.c\n' }).token).toBe('a.b.c')
  })

  it.each([
    ['nothing', ''],
    ['a page', '<html>'],
    ['two words', 'a b'],
    ['a line of headers', 'a\r\nx: y'],
    ['a number', 7],
  ])('is not %s', (_, given) => {
    expect(() => tokens({ token: given as string })).toThrow(new TypeError('not a token'))
  })

  it.each([
    ['sub', undefined, { sub: 'alice' }, 'alice'],
    ['the claim that the caller names', 'user_id', { sub: 'x', user_id: 'bob' }, 'bob'],
    ['a claim of any letters', undefined, { sub: 'Ζωή 😀?>~' }, 'Ζωή 😀?>~'],
    ['nothing where it is no text', undefined, { sub: 7 }, undefined],
    ['nothing where the claim is missing', undefined, {}, undefined],
  ])('names its user by %s', (_, userClaim, claims, user) => {
    expect(tokens({ token: jwt(claims), ...(userClaim === undefined ? {} : { userClaim }) }).user).toBe(user)
  })

  it.each([
    ['is not a JWT', 'opaque'],
    ['has no JSON', 'a.bm9wZQ.c'],
    ['has null', `a.${Buffer.from('null').toString('base64url')}.c`],
    ['has no base64', 'a.=.c'],
  ])('that %s names nobody, and is used', (_, token) => {
    const held = tokens({ token })
    expect([held.token, held.user]).toEqual([token, undefined])
  })

  it('of another user is refused, whoever gives it', async () => {
    const held = tokens({ token: jwt({ sub: 'alice' }), getToken: () => jwt({ sub: 'bob' }) })
    const another = new StreamError('another_user', 'a token of another user')
    expect(() => held.set(jwt({ sub: 'bob' }))).toThrow(another)
    await expect(held.fresh()).rejects.toThrow(another)
    expect([held.user, held.token]).toEqual(['alice', jwt({ sub: 'alice' })])
    held.set(jwt({ sub: 'alice', n: 2 }))
    held.set('opaque')
    expect([held.user, held.token]).toEqual(['alice', 'opaque'])
  })
})

describe('the current token', () => {
  it('is none where a cookie names the user', async () => {
    const held = tokens({})
    expect([await held.current(), await held.fresh(), held.renewable]).toEqual([undefined, undefined, false])
  })

  it('is the one that was given, until another is set', async () => {
    const held = tokens({ token: 'one' })
    expect([await held.current(), await held.fresh()]).toEqual(['one', 'one'])
    held.set('two')
    expect(await held.current()).toBe('two')
    held.refuse()
    expect(await held.current()).toBe('two')
  })

  it('is asked for once, by however many want it, and kept', async () => {
    const { asked, given, getToken } = series()
    const held = tokens({ getToken })
    expect(held.renewable).toBe(true)
    expect(await Promise.all([held.current(), held.current(), held.fresh()])).toEqual(Array(3).fill(given[0]))
    expect(await held.current()).toBe(given[0])
    expect(asked).toEqual([false])
  })

  it('is another after it was refused, which the one who gives it is told', async () => {
    const { asked, given, getToken } = series()
    const held = tokens({ getToken })
    await held.current()
    held.refuse()
    expect(await held.current()).toBe(given[1])
    expect(await held.fresh()).toBe(given[2])
    expect(asked).toEqual([false, true, false])
  })

  it('is not asked for as refused once the caller has set another', async () => {
    const { asked, getToken } = series()
    const held = tokens({ getToken })
    held.refuse()
    held.set('mine')
    await held.fresh()
    expect(asked).toEqual([false])
  })

  it('is the one that the caller sets while another is being asked for', async () => {
    let answer = (_token: string) => {}
    const held = tokens({ token: 'old', getToken: () => new Promise((resolve) => (answer = resolve)) })
    const fresh = held.fresh()
    await pass(0)
    held.set('newer')
    answer('late')
    expect([await fresh, held.token]).toEqual(['newer', 'newer'])
  })

  it('is asked for again after there was none', async () => {
    let asked = 0
    const held = tokens({ getToken: () => (++asked === 1 ? Promise.reject(new Error('away')) : 'two') })
    await expect(held.current()).rejects.toThrow('away')
    expect(await held.current()).toBe('two')
  })

  it('is not waited for longer than an answer may take, nor beyond the end of the stream', async () => {
    const end = new AbortController()
    const held = tokens({ getToken: () => new Promise<never>(() => {}) }, end.signal)
    const late = expect(held.current()).rejects.toThrow(`getToken took longer than ${ANSWER_TIMEOUT_MS} ms`)
    await pass(ANSWER_TIMEOUT_MS)
    await late
    const ended = expect(held.current()).rejects.toThrow('the end')
    end.abort(new Error('the end'))
    await ended
  })
})

it.each([
  ['null', () => null],
  ['a SignedOutError', () => Promise.reject(new SignedOutError())],
  [
    'an error of that name from another copy of this module',
    () => Promise.reject(Object.assign(new Error(), { name: 'SignedOutError' })),
  ],
])('nobody is signed in where getToken gives %s', async (_, getToken) => {
  const error = await tokens({ getToken })
    .current()
    .catch((error) => error)
  expect(error).toBeInstanceOf(StreamError)
  expect([error.reason, error.message]).toEqual(['signed_out', 'nobody is signed in'])
})

it('what is thrown that is no error, whatever it is called, does not sign out', async () => {
  const thrown = { name: 'SignedOutError' }
  await expect(tokens({ getToken: () => Promise.reject(thrown) }).current()).rejects.toBe(thrown)
})

it('setting null signs out', () => {
  expect(() => tokens({ token: 'one' }).set(null)).toThrow(
    new StreamError('signed_out', 'nobody is signed in'),
  )
})

describe('a token is replaced', () => {
  const inMs = (claims: object) =>
    tokens({ token: jwt({ ...claims }), getToken: () => '' }).renewInMs(NOW * 1000)

  it.each([
    ['a minute before its end', 7200, 7_140_000],
    ['a minute before its end, where that is three quarters of its time', 240, 180_000],
    ['after three quarters of its time where it is short', 100, 75_000],
    ['no later than a timer can be set', 10 ** 9, 2 ** 31 - 1],
    ['at a time that the service decides where it has expired by this clock', 0, undefined],
    ['at a time that the service decides where it expired long ago', -100, undefined],
  ])('%s', (_, left, ms) => {
    expect(inMs({ exp: NOW + left })).toBe(ms)
  })

  it('never where it does not say when it ends, where there is none, or where there is no other', () => {
    expect(inMs({})).toBeUndefined()
    expect(tokens({ getToken: () => '' }).renewInMs(NOW * 1000)).toBeUndefined()
    expect(tokens({ token: jwt({ exp: NOW + 100 }) }).renewInMs(NOW * 1000)).toBeUndefined()
  })
})

describe('a refused token may be accepted later', () => {
  it('where there can be another', () => {
    expect(tokens({ getToken: () => '' }).mayImprove).toBe(true)
  })

  it.each([
    ['is only valid from a later time', { nbf: NOW + 2 }, true],
    ['became valid half a minute ago by this clock, which may be wrong', { nbf: NOW - 29 }, true],
    ['has been valid for longer', { nbf: NOW - 30 }, false],
    ['says nothing of it', {}, false],
  ])('where it %s', (_, claims, may) => {
    expect(tokens({ token: jwt(claims) }).mayImprove).toBe(may)
  })
})
