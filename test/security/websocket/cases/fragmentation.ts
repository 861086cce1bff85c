import {
  ALIVE,
  type Case,
  chopped,
  type Expectation,
  numbered,
  PROTOCOL_ERROR,
  type Step,
  TOO_BIG,
} from '../case.ts'
import { fragments, frame, OPCODE } from '../frame.ts'

const { text, binary, continuation, ping, pong } = OPCODE
const first = (payload = 'fragment1') => frame(text, payload, { fin: false })
const last = (payload = 'fragment2') => frame(continuation, payload)
const more = (payload = 'fragment') => frame(continuation, payload, { fin: false })
const whole = frame(text, 'Hello, world!')
const PONGED: Expectation = { alive: true, pongs: ['ping'] }

/** The same bytes in three ways: in one packet, frame by frame, byte by byte. */
function threeWays(
  what: string,
  frames: readonly Buffer[],
  expected: Expectation,
): (readonly [string, readonly Step[], Expectation])[] {
  return [
    [`${what}, in one packet`, [Buffer.concat(frames)], expected],
    [`${what}, frame by frame`, frames, expected],
    [`${what}, byte by byte`, frames.map((bytes) => chopped(bytes)), expected],
  ]
}

/** RFC 6455 §5.4, §5.5: messages may come in pieces with control frames between; control frames may not. */
export const FRAGMENTATION: readonly Case[] = numbered('5', [
  ['a ping in two pieces', [frame(ping, 'a', { fin: false }), last('b')], PROTOCOL_ERROR],
  ['a pong in two pieces', [frame(pong, 'a', { fin: false }), last('b')], PROTOCOL_ERROR],
  ...threeWays('a text in two pieces', [first(), last()], ALIVE),
  ...threeWays('a text in two pieces with a ping between', [first(), frame(ping, 'ping'), last()], PONGED),
  ...threeWays('a continuation of nothing, FIN', [last(), whole], PROTOCOL_ERROR),
  ...threeWays('a continuation of nothing, no FIN', [more(), whole], PROTOCOL_ERROR),
  ['a text in two pieces, then a continuation of nothing', [first(), last(), more(), whole], PROTOCOL_ERROR],
  ['twice: a continuation of nothing (no FIN), a text in two', [more(), first(), last()], PROTOCOL_ERROR],
  ['twice: a continuation of nothing (FIN), a text in two', [last(), first(), last()], PROTOCOL_ERROR],
  ['a text in two pieces that both say text', [first(), frame(text, 'fragment2')], PROTOCOL_ERROR],
  ['a binary inside a text', [first(), frame(binary, 'x'), last()], PROTOCOL_ERROR],
  [
    'five pieces, pings between, slowly',
    [
      first(),
      more(),
      frame(ping, 'ping'),
      { pause: 50 },
      more(),
      more(),
      frame(ping, 'ping'),
      { pause: 50 },
      last(),
    ],
    { alive: true, pongs: ['ping', 'ping'] },
  ],
  [
    'five pieces, pings between',
    [first(), more(), frame(ping, 'ping'), more(), more(), frame(ping, 'ping'), last()],
    { alive: true, pongs: ['ping', 'ping'] },
  ],
  [
    'a message that never ends, of empty pieces',
    [first(''), ...Array.from({ length: 200 }, () => more(''))],
    ALIVE,
  ],
])

/** The suite's auto-fragmentation: a library on the way splits a message as it likes. */
export const AUTO_FRAGMENTATION: readonly Case[] = numbered('10.1', [
  ['16,384 bytes in pieces of 1,300', fragments(text, '*'.repeat(16384), 1300), ALIVE],
  ['16,384 bytes in pieces of 1', [Buffer.concat(fragments(text, '*'.repeat(16384), 1))], ALIVE],
  ['65,536 bytes in pieces of 1,300', fragments(text, '*'.repeat(65_536), 1300), TOO_BIG],
  ['16,385 bytes in pieces of 1', [Buffer.concat(fragments(text, '*'.repeat(16385), 1))], TOO_BIG],
])
