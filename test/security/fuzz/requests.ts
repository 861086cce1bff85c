import fc, { type Arbitrary } from 'fast-check'
import { NAUGHTY } from '../support/naughty.ts'
import type { FuzzRequest } from './client.ts'

/** What a documented operation takes, as far as the fuzzer wants to know. */
export interface Shape {
  readonly method: string
  /** As the route table writes it: `/stories/:id`. */
  readonly pattern: string
  readonly query: readonly string[]
  /** The fields of its JSON body; undefined where it has none. */
  readonly fields: readonly string[] | undefined
}

/** What exists, so that requests do not all fail at the first check. */
export interface World {
  readonly host: string
  readonly tokens: readonly string[]
  readonly badTokens: readonly string[]
  /** Good values of path parameters by their names: stories in all states, connections, files. */
  readonly parameters: Readonly<Record<string, readonly string[]>>
  readonly cursors: readonly string[]
}

const anyText = fc.oneof(
  fc.constantFrom(...NAUGHTY),
  fc.string({ unit: 'binary', maxLength: 200 }),
  fc.string({ unit: 'grapheme', maxLength: 50 }),
  fc.constantFrom('x'.repeat(256), 'x'.repeat(2001), '\ud800', 'a\0b'),
)

const anyValue: Arbitrary<unknown> = fc.oneof(
  anyText,
  fc.constantFrom('❤️', '👍', 'alice', 60, 0, -1, 1.5, 604_801, null, true, [], {}),
  fc.jsonValue({ maxDepth: 3 }),
)

/** Values that are good for a field of this name, wherever it is. */
const GOOD: Readonly<Record<string, readonly unknown[]>> = {
  emoji: ['❤️', '👍', '👩‍👩‍👧‍👦', '🏴󠁧󠁢󠁥󠁮󠁧󠁿'],
  text: ['hello', '<script>alert(1)</script>', '\u2028', null],
  expires_in: [1, 60, 604_800],
  user: ['alice', '🦊'],
}

/** A request of this shape: one in eight good in every part, the others mostly good but for one. */
export function requests(shape: Shape, world: World): Arbitrary<FuzzRequest> {
  const odd = fc.record({
    target: targets(shape, world),
    headers: headers(shape, world),
    body:
      shape.fields === undefined ? rarely(bodies([], world), Buffer.alloc(0)) : bodies(shape.fields, world),
  })
  return fc
    .oneof({ weight: 7, arbitrary: odd }, { weight: 1, arbitrary: sound(shape, world) })
    .map((parts) => ({ method: shape.method, ...parts }))
}

/** Left to luck alone, a route with many parts would now and then see no request that gets past the first check. */
function sound({ pattern, fields }: Shape, world: World): Arbitrary<Omit<FuzzRequest, 'method'>> {
  const values = goodValues(world)
  const body = fc.record(
    Object.fromEntries((fields ?? []).map((name) => [name, fc.constantFrom(...(values[name] ?? ['x']))])),
  )
  return fc
    .record({
      id: fc.constantFrom(...parameterValues(pattern, world)),
      token: fc.constantFrom(...world.tokens),
      body,
    })
    .map(({ id, token, body }) => ({
      target: pattern.replace(/:\w+/, () => id),
      headers: {
        authorization: `Bearer ${token}`,
        ...(fields === undefined ? {} : { 'content-type': 'application/json' }),
        ...(pattern === '/ws' ? HANDSHAKE : {}),
      },
      body: Buffer.from(fields === undefined ? '' : JSON.stringify(body)),
    }))
}

function parameterValues(pattern: string, { parameters }: World): readonly string[] {
  return parameters[/:(\w+)/.exec(pattern)?.[1] ?? ''] ?? ['']
}

/** `usual` nine times of ten. */
function rarely<T>(odd: Arbitrary<T>, usual: T): Arbitrary<T> {
  return fc.oneof({ weight: 9, arbitrary: fc.constant(usual) }, { weight: 1, arbitrary: odd })
}

function targets({ pattern, query }: Shape, world: World): Arbitrary<string> {
  const { tokens, badTokens, cursors } = world
  const id = fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom(...parameterValues(pattern, world)) },
    { weight: 1, arbitrary: fc.uuid() },
    { weight: 1, arbitrary: anyText.map(encode) },
    { weight: 1, arbitrary: fc.stringMatching(/^[!-"$-.0->@-~]{1,300}$/) },
  )
  const name = fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom('token', 'last_event_id', 'after', 'limit', 'ticket', ...query) },
    { weight: 1, arbitrary: anyText.map(encode) },
  )
  const value = fc.oneof(
    fc.constantFrom(...tokens, ...badTokens, ...cursors),
    fc.constantFrom('0', '1', '1000', '1001', '-1', '1e3', '', '999999999999999999999'),
    anyText.map(encode),
  )
  const pair = fc.tuple(name, value).map(([key, text]) => `${key}=${text}`)
  return fc
    .tuple(id, fc.oneof(fc.constant<string[]>([]), fc.array(pair, { maxLength: 4 })))
    .map(
      ([text, pairs]) =>
        pattern.replace(/:\w+/, () => text) + (pairs.length === 0 ? '' : `?${pairs.join('&')}`),
    )
}

/** Percent-encoded, but lone surrogates, which have no UTF-8, and now and then a stray percent. */
function encode(text: string): string {
  return encodeURIComponent(text.replace(/\p{Surrogate}/gu, '')).replaceAll('%25', '%')
}

const headerText = fc.stringMatching(/^[\x20-\x7e\x80-\xff]{0,60}$/)

function headers(shape: Shape, world: World): Arbitrary<FuzzRequest['headers']> {
  const good = fc.constantFrom(...world.tokens).map((token) => ({ authorization: `Bearer ${token}` }))
  const auth: Arbitrary<Record<string, string>> = fc.oneof(
    { weight: 8, arbitrary: good },
    {
      weight: 1,
      arbitrary: fc.constantFrom(...world.badTokens).map((token) => ({ authorization: `Bearer ${token}` })),
    },
    { weight: 1, arbitrary: headerText.map((authorization) => ({ authorization })) },
    {
      weight: 1,
      arbitrary: fc.constantFrom(...world.tokens).map((token) => ({ cookie: `glimpse_token=${token}` })),
    },
    { weight: 1, arbitrary: headerText.map((cookie) => ({ cookie })) },
    { weight: 1, arbitrary: fc.constant({}) },
  )
  const type = fc.oneof(
    { weight: 8, arbitrary: fc.constant('application/json') },
    {
      weight: 1,
      arbitrary: fc.constantFrom('text/plain', 'application/json; charset=latin1', 'application/x+json'),
    },
    { weight: 1, arbitrary: headerText },
  )
  const accept = fc.constantFrom('*/*', 'application/json', 'text/event-stream', 'text/html', 'a/b;q=x')
  const optional = fc.record(
    {
      origin: fc.oneof(fc.constantFrom(`http://${world.host}`, 'https://evil.example', 'null'), headerText),
      'last-event-id': fc.oneof(fc.constantFrom(...world.cursors, '0'), headerText),
      'sec-fetch-site': fc.constantFrom('same-origin', 'cross-site', 'none', 'x'),
      'x-forwarded-for': fc.oneof(
        fc.constantFrom('203.0.113.7', '::1', 'unknown', '1.2.3.4, 5.6.7.8'),
        headerText,
      ),
      'accept-encoding': headerText,
      'if-none-match': headerText,
      range: fc.constantFrom('bytes=0-', 'bytes=-1', 'x'),
      traceparent: fc.oneof(fc.constant(`00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`), headerText),
    },
    { requiredKeys: [] },
  )
  const base = fc
    .tuple(auth, type, accept, rarely<Record<string, string>>(optional, {}))
    .map(([who, contentType, accepted, more]) => ({
      ...who,
      accept: accepted,
      ...(shape.fields === undefined ? {} : { 'content-type': contentType }),
      ...more,
    }))
  return shape.pattern === '/ws'
    ? fc.tuple(base, handshakes).map(([some, more]) => ({ ...some, ...more }))
    : base
}

const HANDSHAKE = {
  connection: 'Upgrade',
  upgrade: 'websocket',
  'sec-websocket-version': '13',
  'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
}

const handshakes: Arbitrary<Record<string, string>> = fc.oneof(
  { weight: 3, arbitrary: fc.constant(HANDSHAKE) },
  {
    weight: 1,
    arbitrary: fc.record({
      connection: fc.constantFrom('Upgrade', 'keep-alive, Upgrade', 'close'),
      upgrade: fc.constantFrom('websocket', 'WebSocket', 'h2c', 'x'),
      'sec-websocket-version': fc.constantFrom('13', '8', '', '13, 8'),
      'sec-websocket-key': fc.constantFrom('dGhlIHNhbXBsZSBub25jZQ==', '', 'x', '='.repeat(24)),
      'sec-websocket-extensions': fc.oneof(
        fc.constant('permessage-deflate; client_max_window_bits'),
        headerText,
      ),
      'sec-websocket-protocol': fc.oneof(fc.constantFrom('a, b', 'a,,a'), headerText),
    }),
  },
)

function goodValues({ cursors }: World): typeof GOOD {
  return { ...GOOD, cursor: cursors }
}

function bodies(fields: readonly string[], world: World): Arbitrary<Buffer> {
  const values = goodValues(world)
  const good = fields.map((name) => fc.tuple(fc.constant(name), fc.constantFrom(...(values[name] ?? ['x']))))
  const odd = fc.tuple(fc.oneof(anyText, fc.constantFrom('__proto__', ...fields)), anyValue)
  const object = fc
    .array(fc.oneof({ weight: 2, arbitrary: good.length === 0 ? odd : fc.oneof(...good) }, odd), {
      maxLength: 3,
    })
    .map((entries) =>
      entries.map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value) ?? 'null'}`),
    )
    .map((members) => `{${members.join()}}`)
  return fc.oneof(
    { weight: 12, arbitrary: object.map((text) => Buffer.from(text)) },
    { weight: 1, arbitrary: fc.json().map((text) => Buffer.from(text)) },
    { weight: 1, arbitrary: anyText.map((text) => Buffer.from(text)) },
    { weight: 1, arbitrary: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)) },
    {
      weight: 1,
      arbitrary: fc.constantFrom(
        Buffer.alloc(0),
        Buffer.alloc(17_000, 0x20),
        Buffer.from('['.repeat(8000)),
        Buffer.from('{"expires_in":1e400}'),
      ),
    },
  )
}
