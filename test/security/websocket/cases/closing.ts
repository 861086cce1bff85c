import {
  BAD_TEXT,
  type Case,
  type Expectation,
  numbered,
  PROTOCOL_ERROR,
  type Step,
  TOO_BIG,
} from '../case.ts'
import { closePayload, frame, OPCODE } from '../frame.ts'

const { text, continuation, close, ping } = OPCODE
const closeWith = (payload: Buffer | string = '') => frame(close, payload)
const NORMAL = closeWith(closePayload(1000, 'Hello, world!'))
const echo = (code: number): Expectation => ({ closes: [code] })

const AFTER_CLOSE: readonly (readonly [string, readonly Step[], Expectation])[] = [
  ['a message, then a close', [frame(text, 'Hello, world!'), NORMAL], echo(1000)],
  ['two closes', [NORMAL, NORMAL], echo(1000)],
  ['a ping after the close: no answer', [NORMAL, frame(ping)], echo(1000)],
  ['a text after the close', [NORMAL, frame(text, 'Hello, world!')], echo(1000)],
  [
    'a close inside a message in pieces',
    [frame(text, 'fragment1', { fin: false }), NORMAL, frame(continuation, 'fragment2')],
    echo(1000),
  ],
  ['256 KiB, a close, a ping', [frame(text, '*'.repeat(262_144)), NORMAL, frame(ping)], TOO_BIG],
  [
    'all in one packet',
    [Buffer.concat([frame(text, 'x'), NORMAL, frame(ping), frame(text, 'x')])],
    echo(1000),
  ],
]

const PAYLOADS: readonly (readonly [string, readonly Step[], Expectation])[] = [
  ['an empty close', [closeWith()], echo(1005)],
  ['one byte', [closeWith('a')], PROTOCOL_ERROR],
  ['a code', [closeWith(closePayload(1000))], echo(1000)],
  ['a code and a reason', [NORMAL], echo(1000)],
  ['a reason of 123 bytes', [closeWith(closePayload(1000, '*'.repeat(123)))], echo(1000)],
  ['a reason of 124 bytes', [closeWith(closePayload(1000, '*'.repeat(124)))], PROTOCOL_ERROR],
  ['a close without FIN', [frame(close, closePayload(1000), { fin: false })], PROTOCOL_ERROR],
]

const BAD_REASONS = ['cebae1bdb9cf83cebcceb5eda080656469746564', 'ff', 'c3', 'f4908080']

/** What IANA and RFC 6455 §7.4 let an endpoint send, and what not (§7.4.1, §7.4.2). */
const VALID_CODES = [
  1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999,
]
const INVALID_CODES = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 1999, 2000, 2999]

/** RFC 6455 §5.5.1, §7: one close is answered by one close, and then there is nothing more. */
export const CLOSING: readonly Case[] = [
  ...numbered('7.1', AFTER_CLOSE),
  ...numbered('7.3', PAYLOADS),
  ...numbered(
    '7.5',
    BAD_REASONS.map((hex) => [
      `a reason of ${hex}, which is no UTF-8`,
      [closeWith(closePayload(1000, Buffer.from(hex, 'hex')))],
      BAD_TEXT,
    ]),
  ),
  ...numbered(
    '7.7',
    VALID_CODES.map((code) => [`code ${code}`, [closeWith(closePayload(code))], echo(code)]),
  ),
  ...numbered(
    '7.9',
    INVALID_CODES.map((code) => [`code ${code}`, [closeWith(closePayload(code))], PROTOCOL_ERROR]),
  ),
  ...numbered(
    '7.13',
    [5000, 65_535].map((code) => [`code ${code}`, [closeWith(closePayload(code))], { informational: true }]),
  ),
]
