import { describe, expect, it } from 'vitest'
import {
  eventText,
  eventTypeOf,
  formatCursor,
  isBodyOf,
  isUserId,
  parseResumePoint,
  unreadOf,
} from '../src/event.ts'

describe('a cursor', () => {
  it.each([
    [{ epoch: '7f3a9c', seq: 42, check: '3f9a0b' }, '7f3a9c.42.3f9a0b'],
    [{ epoch: 'e', seq: 0, check: 'z' }, 'e.0.z'],
    [
      { epoch: '0az9'.repeat(8), seq: Number.MAX_SAFE_INTEGER, check: '0az9'.repeat(4) },
      `${'0az9'.repeat(8)}.9007199254740991.${'0az9'.repeat(4)}`,
    ],
    [{ epoch: 'e1', seq: 7, check: undefined }, 'e1.7'],
  ])('%j is written as %s, and read back', (cursor, text) => {
    expect(formatCursor(cursor)).toBe(text)
    expect(parseResumePoint(text)).toEqual({ from: 'cursor', ...cursor })
  })

  it.each([undefined, null, ''])('that is not given (%j) means from now on', (text) => {
    expect(parseResumePoint(text)).toEqual({ from: 'now' })
  })

  it('of 0 means from the oldest event kept', () => {
    expect(parseResumePoint('0')).toEqual({ from: 'oldest' })
  })

  it.each([
    ['no dot', 'e1'],
    ['no epoch', '.7'],
    ['no seq', 'e1.'],
    ['an epoch of 33 characters', `${'e'.repeat(33)}.7`],
    ['capitals in its epoch', 'E1.7'],
    ['something before its epoch', ' e1.7'],
    ['a seq with a leading zero', 'e1.07'],
    ['a seq with a sign', 'e1.+7'],
    ['a seq of 17 digits', 'e1.10000000000000000'],
    ['a seq past the exact numbers', 'e1.9007199254740992'],
    ['an empty check', 'e1.7.'],
    ['capitals in its check', 'e1.7.A'],
    ['a check of 17 characters', `e1.7.${'a'.repeat(17)}`],
    ['a fourth part', 'e1.7.a.b'],
    ['a line end', 'e1.7.a\n'],
    ['two zeros', '00'],
  ])('is invalid with %s', (_, text) => {
    expect(parseResumePoint(text)).toEqual({ from: 'invalid' })
  })
})

const BODY = '{"seq":42,"type":"story.viewed","data":{"a":1},"timestamp":"now"}'

describe('the text of an event', () => {
  it('is the body, byte for byte, with the id in front', () => {
    expect(eventText('e1.42.k', BODY)).toBe(`{"id":"e1.42.k",${BODY.slice(1)}`)
  })

  it('has its type after the number, however long that is', () => {
    for (const seq of [1, 42, Number.MAX_SAFE_INTEGER])
      expect(eventTypeOf(`{"seq":${seq},"type":"order.paid","data":{}}`)).toBe('order.paid')
  })
})

describe('the body of an event', () => {
  const body = (type: string, data = '{}') => `{"seq":42,"type":"${type}","data":${data}}`

  it('is what the log writes under its number', () => {
    expect(isBodyOf(42, BODY)).toBe(true)
    for (const seq of [4, 2, 41, 421, 0]) expect(isBodyOf(seq, BODY)).toBe(false)
  })

  it.each([
    'a',
    'a1',
    'a_b',
    'order.paid',
    'order.1',
    'order._',
    'order.paid.twice',
    'streams.x',
    'stream_.x',
    'stream',
  ])('may be of the type %s', (type) => {
    expect(isBodyOf(42, body(type))).toBe(true)
  })

  it.each([
    '',
    '1',
    '_a',
    'A',
    'aB',
    'a-b',
    'a ',
    ' a',
    '.a',
    'a.',
    'a..b',
    'a.B',
    'stream.',
    'stream.reset',
    'é',
  ])('may not be of the type %j', (type) => {
    expect(isBodyOf(42, body(type))).toBe(false)
    // Nor after a good one, whose type is remembered.
    expect(isBodyOf(42, BODY)).toBe(true)
    expect(isBodyOf(42, body(type))).toBe(false)
  })

  it.each([
    ['another first field', '{"sec":42,"type":"a","data":{}}'],
    ['something before it', ' {"seq":42,"type":"a","data":{}}'],
    ['a blank before its number', '{"seq": 42,"type":"a","data":{}}'],
    ['a zero before its number', '{"seq":042,"type":"a","data":{}}'],
    ['a fraction after its number', '{"seq":42.0,"type":"a","data":{}}'],
    ['no number', '{"seq":,"type":"a","data":{}}'],
    ['another second field', '{"seq":42,"kind":"a","data":{}}'],
    ['no data after its type', '{"seq":42,"type":"a","date":{}}'],
    ['a type that has no end', '{"seq":42,"type":"a'],
    ['no end', '{"seq":42,"type":"a","data":1'],
    ['a blank after its end', '{"seq":42,"type":"a","data":{}} '],
    // One body would become several SSE events.
    ['a line feed', '{"seq":42,"type":"a","data":{\n}}'],
    ['a carriage return', '{"seq":42,"type":"a","data":{\r}}'],
    ['nothing in it', ''],
  ])('is none with %s', (_, text) => {
    // With the type known and with another one known.
    for (const before of [body('a'), body('b')]) {
      expect(isBodyOf(42, before)).toBe(true)
      expect(isBodyOf(42, text)).toBe(false)
    }
  })

  it('of a type that only begins like the one before is judged by its own', () => {
    expect(isBodyOf(42, body('order'))).toBe(true)
    expect(isBodyOf(42, body('order.paid'))).toBe(true)
    expect(isBodyOf(42, body('order'))).toBe(true)
    expect(isBodyOf(42, body('order-'))).toBe(false)
  })
})

describe('a user id', () => {
  it.each([
    ['one character', 'a'],
    ['255 characters', 'x'.repeat(255)],
    ['255 emoji, which are 510 UTF-16 units', '🦊'.repeat(255)],
    ['blanks and punctuation', ' a|b\\"é'],
    ['a line separator, which is no control character', 'a\u2028'],
  ])('may be %s', (_, user) => {
    expect(isUserId(user)).toBe(true)
  })

  it.each<[string, unknown]>([
    ['empty', ''],
    ['256 characters', 'x'.repeat(256)],
    ['256 emoji', '🦊'.repeat(256)],
    ['a number', 7],
    ['an object of a length', { length: 1, toString: () => 'a' }],
    ['absent', undefined],
    ['null', null],
    ['a control character at its start', '\u0000a'],
    ['a control character at its end', 'a\n'],
    ['a C1 control character', 'a\u0085b'],
    ['half an emoji', 'a\ud83d'],
    ['the other half', '\udd8a'],
  ])('may not be %s', (_, value) => {
    expect(isUserId(value)).toBe(false)
  })
})

it.each([
  ['nothing read', { head: 10, oldest: 1, read: 0 }, 10],
  ['some read', { head: 10, oldest: 1, read: 7 }, 3],
  ['all read', { head: 10, oldest: 1, read: 10 }, 0],
  ['unread ones trimmed', { head: 10, oldest: 4, read: 0 }, 7],
  ['read up to just before the oldest', { head: 10, oldest: 4, read: 3 }, 7],
  ['everything trimmed', { head: 10, oldest: 11, read: 3 }, 0],
  ['an empty stream', { head: 0, oldest: 1, read: 0 }, 0],
])('with %s, what is unread is what is kept after the read mark', (_, head, unread) => {
  expect(unreadOf(head)).toBe(unread)
})
