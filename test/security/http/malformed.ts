import { type Attack, request, type Target } from './attack.ts'

const KIB = 1024
const refused = (what: string, bytes: Attack['bytes']): Attack => ({ what, bytes, expected: 'refused' })
const answered = (what: string, bytes: Attack['bytes'], ...expected: number[]): Attack => ({
  what,
  bytes,
  expected,
})
const cut = (what: string, bytes: Attack['bytes']): Attack => ({ what, bytes, expected: 'cut' })
/** A GET of /livez with this header line. */
const line = (what: string, text: string) => refused(what, (target) => request('GET /livez', target, text))
const whole = (what: string, text: string) => refused(what, () => text)

const LINES: readonly Attack[] = [
  whole('bare LF for every line end', 'GET /livez HTTP/1.1\nHost: x\n\n'),
  whole('bare CR for every line end', 'GET /livez HTTP/1.1\rHost: x\r\r'),
  line('a bare CR in a value', 'X-A: a\rb'),
  line('a bare LF in a value', 'X-A: a\nb'),
  line('a NUL in a value', 'X-A: a\0b'),
  line('a NUL in a name', 'X\0A: a'),
  line('a control character in a value', 'X-A: a\u0001b'),
  line('a name with a blank', 'X A: a'),
  line('a name with a bracket', 'X(A): a'),
  line('a line without a colon', 'no header'),
  line('a line with no name', ': a'),
  line('a folded line', 'X-A: a\r\n b'),
]

const HOSTS: readonly Attack[] = [
  whole('no Host', 'GET /livez HTTP/1.1\r\n\r\n'),
  line('a second Host', 'Host: elsewhere.example'),
  line('the same Host again', 'Host: x'),
  whole('a Host with a path', 'GET /livez HTTP/1.1\r\nHost: a/b\r\n\r\n'),
  whole('a Host with a user', 'GET /livez HTTP/1.1\r\nHost: a@b\r\n\r\n'),
  whole('two names in one Host', 'GET /livez HTTP/1.1\r\nHost: a, b\r\n\r\n'),
]

const REQUEST_LINES: readonly Attack[] = [
  whole('HTTP/0.9', 'GET /livez\r\n\r\n'),
  whole('the preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
  whole('HTTP/2.0', 'GET /livez HTTP/2.0\r\nHost: x\r\n\r\n'),
  whole('HTTP/1.2', 'GET /livez HTTP/1.2\r\nHost: x\r\n\r\n'),
  whole('HTTP/9.9', 'GET /livez HTTP/9.9\r\nHost: x\r\n\r\n'),
  whole('http in lower case', 'GET /livez http/1.1\r\nHost: x\r\n\r\n'),
  whole('a version of its own', 'GET /livez XTTP/1.1\r\nHost: x\r\n\r\n'),
  whole('a tab for a blank', 'GET\t/livez HTTP/1.1\r\nHost: x\r\n\r\n'),
  whole('a blank in the path', 'GET /li vez HTTP/1.1\r\nHost: x\r\n\r\n'),
  whole('a NUL in the path', 'GET /li\0vez HTTP/1.1\r\nHost: x\r\n\r\n'),
  whole('a bare CR in the path', 'GET /li\rvez HTTP/1.1\r\nHost: x\r\n\r\n'),
  whole('a control character in the path', 'GET /li\u0001vez HTTP/1.1\r\nHost: x\r\n\r\n'),
  whole('a method nobody knows', 'FETCH /livez HTTP/1.1\r\nHost: x\r\n\r\n'),
  whole('a method in lower case', 'get /livez HTTP/1.1\r\nHost: x\r\n\r\n'),
  whole('CONNECT', 'CONNECT internal.example:443 HTTP/1.1\r\nHost: internal.example:443\r\n\r\n'),
  whole('a TLS client', Buffer.from('16030100a50100a10303', 'hex').toString('latin1')),
  whole('an SSH client', 'SSH-2.0-OpenSSH_9.0\r\n'),
  whole('a Redis client', '*1\r\n$4\r\nPING\r\n'),
  whole('nothing but line ends, then garbage', '\r\n\r\n\r\n\u0016\u0003'),
]

const SIZES: readonly Attack[] = [
  line('a header of 64 KiB', `X-A: ${'a'.repeat(64 * KIB)}`),
  line('a name of 64 KiB', `X-${'a'.repeat(64 * KIB)}: a`),
  line('5,000 headers', Array.from({ length: 5000 }, (_, i) => `X-${i}: a`).join('\r\n')),
  refused('a cookie of 32 KiB', (target) =>
    request('GET /livez', target, `Cookie: a=${'b'.repeat(32 * KIB)}`),
  ),
  refused('a path of 64 KiB', (target) => request(`GET /${'a'.repeat(64 * KIB)}`, target)),
  refused('a query of 64 KiB', (target) => request(`GET /livez?${'a'.repeat(64 * KIB)}`, target)),
  answered('a path of 8 KiB', (target) => request(`GET /${'a'.repeat(8 * KIB)}`, target), 404),
  answered('10,000 slashes', (target) => request(`GET ${'/'.repeat(10_000)}`, target), 404),
  answered('a query of 8 KiB', (target) => request(`GET /livez?${'a=b&'.repeat(2 * KIB)}`, target), 200),
]

const TARGETS: readonly Attack[] = [
  answered('absolute-form', (target) => request('GET http://elsewhere.example/livez', target), 200),
  answered(
    'absolute-form with a port',
    (target) => request('GET http://elsewhere.example:80/livez', target),
    200,
  ),
  answered(
    'absolute-form in upper case',
    (target) => request('GET HTTP://Elsewhere.Example/livez', target),
    200,
  ),
  answered(
    'absolute-form with a user',
    (target) => request('GET http://a:b@elsewhere.example/livez', target),
    200,
  ),
  answered('absolute-form without a path', (target) => request('GET http://elsewhere.example', target), 200),
  answered('absolute-form of a file', (target) => request('GET file:///etc/passwd', target), 404),
  answered('OPTIONS *', (target) => request('OPTIONS *', target), 404),
  answered('GET *', (target) => request('GET *', target), 404),
  ...[
    '/../../../etc/passwd',
    '/console/../../package.json',
    '/console/..%2f..%2fpackage.json',
    '/console/%2e%2e/index.ts',
    '/console/..%5c..%5cpackage.json',
    '/console/main.js%00.html',
    '/console/constructor',
    '/console/__proto__',
    '//livez',
    '/livez/',
    '/livez%20',
    '/./livez',
    '/livez;a=b',
    '/%6civez%00',
    '/stories/%',
    '/stories/%ff',
    '/stories/%c0%ae%c0%ae',
    '/stories/%00',
    "/stories/'%20or%201=1--",
    '/stories/$(id)',
    '/stories/{{7*7}}',
    '/stories/..%252f..%252f',
  ].map((path) => answered(`GET ${path}`, (target) => request(`GET ${path}`, target), 404)),
]

/** A request whose answer takes a while: the database is asked. */
const readStory = (target: Target) => request(`GET /stories/${target.story}`, target)
const times = (count: number, text: string) => Array.from({ length: count }, () => text).join('')
const WEBSOCKET = [
  'Connection: Upgrade',
  'Upgrade: websocket',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
]
const JSON_BODY = ['Content-Type: application/json', 'Content-Length: 2']

const CONNECTIONS: readonly Attack[] = [
  answered(
    '50 requests at once',
    (target) => times(50, request('GET /livez', target)),
    ...Array(50).fill(200),
  ),
  answered(
    'requests at once, the last malformed',
    (target) => `${times(3, readStory(target))}GARBAGE\r\n\r\n`,
    ...[200, 200, 200, 400],
  ),
  cut('an upgrade behind a request that is not answered yet', (target) =>
    [readStory(target), request('GET /ws', target, ...WEBSOCKET)].join(''),
  ),
  answered(
    'an upgrade to h2c behind one',
    (target) =>
      [readStory(target), request('GET /livez', target, 'Connection: Upgrade', 'Upgrade: h2c')].join(''),
    ...[200, 200],
  ),
  refused('an upgrade to a WebSocket with no key', (target) =>
    request('GET /ws', target, ...WEBSOCKET.slice(0, 3)),
  ),
  refused('an upgrade to a WebSocket of version 8', (target) =>
    request(
      'GET /ws',
      target,
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Sec-WebSocket-Version: 8',
      WEBSOCKET[3] ?? '',
    ),
  ),
  ...['a,,b', 'a, a', 'a b', '"a"'].map((names) =>
    refused(`an upgrade to a WebSocket with the protocols ${names}`, (target) =>
      request('GET /ws', target, ...WEBSOCKET, `Sec-WebSocket-Protocol: ${names}`),
    ),
  ),
  answered(
    'an upgrade to a WebSocket with a POST',
    (target) => request('POST /ws', target, ...WEBSOCKET),
    405,
  ),
  refused(
    'an upgrade without a token, a request behind it',
    ({ host, smuggled }) =>
      request('GET /ws', { host, authorization: 'X: x' } as Target, ...WEBSOCKET) + smuggled,
  ),
  answered(
    'an upgrade to h2c, a request behind it',
    (target) => request('GET /livez', target, 'Connection: Upgrade', 'Upgrade: h2c') + target.smuggled,
    200,
  ),
  answered(
    'an upgrade to a WebSocket of a path that has none',
    (target) => request('GET /livez', target, ...WEBSOCKET) + target.smuggled,
    200,
  ),
  answered(
    'a POST with a body and an upgrade to h2c',
    (target) => `${request('POST /stories', target, 'Connection: Upgrade', 'Upgrade: h2c', ...JSON_BODY)}{}`,
    201,
  ),
  answered(
    'a POST with a body and an upgrade to a WebSocket',
    (target) => `${request('POST /stories', target, ...WEBSOCKET, ...JSON_BODY)}{}`,
    201,
  ),
  answered('an expectation nobody knows', (target) => request('GET /livez', target, 'Expect: magic'), 200),
]

export const MALFORMED: readonly Attack[] = [
  ...LINES,
  ...HOSTS,
  ...REQUEST_LINES,
  ...SIZES,
  ...TARGETS,
  ...CONNECTIONS,
]
