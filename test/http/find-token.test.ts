import { describe, expect, it } from 'vitest'
import { findToken } from '../../src/http/find-token.ts'
import { readRequest } from '../support/raw-request.ts'

const HOST = 'Host: glimpse.example'
const CORS = ['https://app.example']

/** What is found in a request with these header lines; `first` is its method and target. */
function find(headers: readonly string[], first = 'GET /events', query = true): Promise<string | undefined> {
  return readRequest([`${first} HTTP/1.1`, HOST, ...headers], (request) =>
    findToken(request, new URL(request.url ?? '', 'http://localhost'), {
      query,
      tokenInUrl: true,
      corsOrigins: CORS,
    }),
  )
}

const unauthorized = (finding: Promise<unknown>) =>
  expect(finding).rejects.toMatchObject({ code: 'unauthorized' })

describe('the order of carriers', () => {
  const header = 'Authorization: Bearer from.the.header'
  const cookie = 'Cookie: glimpse_token=from.the.cookie'

  it('is header, query, cookie', async () => {
    expect(await find([header, cookie], 'GET /events?token=from.the.query')).toBe('from.the.header')
    expect(await find([cookie], 'GET /events?token=from.the.query')).toBe('from.the.query')
    expect(await find([cookie], 'GET /events')).toBe('from.the.cookie')
    expect(await find([], 'GET /events')).toBeUndefined()
  })

  it('has no query where URLs do not carry tokens', async () => {
    expect(await find([cookie], 'GET /stories?token=from.the.query', false)).toBe('from.the.cookie')
    expect(await find([], 'GET /stories?token=from.the.query', false)).toBeUndefined()
  })
})

describe('the Authorization header', () => {
  it.each([
    'Bearer a.b.c',
    'bearer a.b.c',
    'BEARER a.b.c',
    'Bearer   a.b.c',
    'Bearer a.b.c  ',
  ])('is understood as %j', async (value) => {
    expect(await find([`Authorization: ${value}`])).toBe('a.b.c')
  })

  it.each([
    '',
    'Bearer',
    'Bearer ',
    'a.b.c',
    'Basic dXNlcjpwYXNz',
    'Bearer a b',
    'Bearer a,b',
    'Bearer "a"',
    'Bearera.b.c',
  ])('is an error as %j, never passed over for a weaker carrier', async (value) => {
    const lines = [`Authorization: ${value}`, 'Cookie: glimpse_token=c']
    await unauthorized(find(lines, 'GET /events?token=q'))
  })

  it('is an error when sent twice, even with the same token', async () => {
    await unauthorized(find(['Authorization: Bearer a', 'AUTHORIZATION: Bearer a']))
  })
})

describe('the parameter token', () => {
  it('is decoded', async () => {
    expect(await find([], 'GET /events?x=1&token=a%2Eb')).toBe('a.b')
  })

  it.each([
    'token=',
    'token=a&token=b',
    'token=a&token=a',
    'token=&token=a',
  ])('is an error as ?%s', async (query) => {
    await unauthorized(find(['Cookie: glimpse_token=c'], `GET /events?${query}`))
  })
})

describe('the cookie', () => {
  it.each([
    ['alone', 'glimpse_token=a.b.c'],
    ['among others', 'x=1; glimpse_token=a.b.c; y=2'],
    ['in quotes', 'glimpse_token="a.b.c"'],
    ['with loose spaces', 'x=1;glimpse_token = a.b.c ;y'],
  ])('is found %s', async (_, cookie) => {
    expect(await find([`Cookie: ${cookie}`])).toBe('a.b.c')
  })

  it.each([
    'x=1',
    'xglimpse_token=a',
    'glimpse_tokenx=a',
    'Glimpse_Token=a',
    'glimpse_token=',
    'glimpse_token=""',
    'x="glimpse_token=a"',
  ])('is not in %j', async (cookie) => {
    expect(await find([`Cookie: ${cookie}`])).toBeUndefined()
  })

  it('is an error when there are two', async () => {
    await unauthorized(find(['Cookie: glimpse_token=a; glimpse_token=b']))
    await unauthorized(find(['Cookie: glimpse_token=; glimpse_token=b']))
    await unauthorized(find(['Cookie: glimpse_token=a', 'Cookie: glimpse_token=b']))
  })

  const COOKIE = 'Cookie: glimpse_token=a'

  it.each<[string, string[]]>([
    ['GET /events', []],
    ['HEAD /events', []],
    ['GET /events', ['Origin: https://glimpse.example']],
    ['POST /stories', ['Origin: https://glimpse.example']],
    ['POST /stories', ['Origin: https://app.example']],
    ['POST /stories', ['Origin: https://app.example', 'Sec-Fetch-Site: cross-site']],
    ['GET /events', ['Sec-Fetch-Site: same-origin']],
    ['POST /stories', ['Sec-Fetch-Site: same-origin']],
    ['GET /events', ['Sec-Fetch-Site: none']],
  ])('counts for %s with %j', async (first, headers) => {
    expect(await find([COOKIE, ...headers], first)).toBe('a')
  })

  it.each<[string, string[]]>([
    ['POST /stories', []],
    ['DELETE /stories/1', []],
    ['GET /events', ['Origin: https://evil.example']],
    ['GET /events', ['Origin: null']],
    ['GET /events', ['Origin: https://evil.example', 'Sec-Fetch-Site: same-origin']],
    ['GET /events', ['Sec-Fetch-Site: cross-site']],
    ['GET /events', ['Sec-Fetch-Site: same-site']],
    ['GET /events', ['Sec-Fetch-Site: whatever']],
    ['POST /stories', ['Sec-Fetch-Site: same-site']],
  ])('is refused for %s with %j', async (first, headers) => {
    await expect(find([COOKIE, ...headers], first)).rejects.toMatchObject({ code: 'origin_not_allowed' })
  })

  it('does not stand in the way of another carrier from a foreign origin', async () => {
    expect(await find([COOKIE, 'Origin: https://evil.example', 'Authorization: Bearer b'])).toBe('b')
  })
})
