import { expect, it } from 'vitest'
import { originVerdict } from '../../src/http/origin.ts'
import { readRequest } from '../support/raw-request.ts'

const LISTED = ['https://app.example', 'http://localhost:3000']

const verdict = (origin: string | undefined, host: string) =>
  readRequest(
    ['GET / HTTP/1.1', `Host: ${host}`, ...(origin === undefined ? [] : [`Origin: ${origin}`])],
    (request) => originVerdict(request, LISTED),
  )

it.each([
  ['none', undefined, 'glimpse.example'],
  ['own', 'http://glimpse.example', 'glimpse.example'],
  ['own', 'https://glimpse.example', 'glimpse.example'],
  ['own', 'http://127.0.0.1:8080', '127.0.0.1:8080'],
  ['own', 'http://[::1]:8080', '[::1]:8080'],
  ['own', 'https://glimpse.example', 'GLIMPSE.example'],
  ['own', 'https://glimpse.example', 'glimpse.example:443'],
  ['own', 'http://glimpse.example', 'glimpse.example:80'],
  ['own', 'https://glimpse.example:443', 'glimpse.example'],
  ['listed', 'https://app.example', 'glimpse.example'],
  ['listed', 'http://localhost:3000', 'glimpse.example'],
  ['foreign', 'http://app.example', 'glimpse.example'],
  ['foreign', 'https://app.example:444', 'glimpse.example'],
  ['foreign', 'https://app.example/', 'glimpse.example'],
  ['foreign', 'https://app.example.evil.example', 'glimpse.example'],
  ['foreign', 'https://evil-app.example', 'glimpse.example'],
  ['foreign', 'https://sub.app.example', 'glimpse.example'],
  ['foreign', 'https://glimpse.example:444', 'glimpse.example'],
  ['foreign', 'https://glimpse.example', 'glimpse.example:80'],
  ['foreign', 'http://glimpse.example', 'glimpse.example:443'],
  ['foreign', 'http://localhost', 'localhost:8080'],
  ['foreign', 'https://glimpse.example.', 'glimpse.example'],
  ['foreign', 'https://glimpse.example/path', 'glimpse.example'],
  ['foreign', 'https://evil@glimpse.example', 'glimpse.example'],
  ['foreign', 'ftp://glimpse.example', 'glimpse.example'],
  ['foreign', 'chrome-extension://glimpse.example', 'glimpse.example'],
  ['foreign', 'glimpse.example', 'glimpse.example'],
  ['foreign', 'null', 'glimpse.example'],
  ['foreign', 'null', 'null'],
  ['foreign', '', 'glimpse.example'],
  ['foreign', '*', 'glimpse.example'],
  ['foreign', 'https://evil.example', 'x@evil.example'],
  ['foreign', 'https://[', 'glimpse.example'],
])('%s: Origin %s asks Host %s', async (expected, origin, host) => {
  expect(await verdict(origin, host)).toBe(expected)
})

it('foreign: two origins, one of them our own', async () => {
  const lines = ['GET / HTTP/1.1', 'Host: a.example', 'Origin: http://a.example', 'Origin: http://a.example']
  expect(await readRequest(lines, (request) => originVerdict(request, LISTED))).toBe('foreign')
})

it('foreign: no Host at all to compare with (HTTP/1.0)', async () => {
  const lines = ['GET / HTTP/1.0', 'Origin: http://a.example']
  expect(await readRequest(lines, (request) => originVerdict(request, LISTED))).toBe('foreign')
})
