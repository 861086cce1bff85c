import { ALIVE, type Case, chopped, numbered, PROTOCOL_ERROR, type Step, TOO_BIG } from '../case.ts'
import { frame, OPCODE } from '../frame.ts'

const sizes = (opcode: number): (readonly [string, readonly Step[], typeof ALIVE])[] => [
  ...[0, 125, 126, 127, 128, 16384].map(
    (size) => [`${size} bytes`, [frame(opcode, '*'.repeat(size))], ALIVE] as const,
  ),
  // Nothing that long is ever meant for this service.
  ...[16385, 65_535, 65_536].map(
    (size) => [`${size} bytes`, [frame(opcode, '*'.repeat(size))], TOO_BIG] as const,
  ),
  ['65536 bytes in chops of 997', [chopped(frame(opcode, '*'.repeat(65_536)), 997)], TOO_BIG],
]

/** Lengths, and what RFC 6455 §5.1 and §5.2 say of a frame's header. */
export const FRAMING: readonly Case[] = [
  ...numbered('1.1', sizes(OPCODE.text)),
  ...numbered('1.2', sizes(OPCODE.binary)),
  ...numbered('x1', [
    ['a frame without a mask', [frame(OPCODE.text, 'x', { masked: false })], PROTOCOL_ERROR],
    ['a ping without a mask', [frame(OPCODE.ping, 'x', { masked: false })], PROTOCOL_ERROR],
    [
      'a length in 16 bits that fits in 7 (§5.2 asks for the shortest)',
      [frame(OPCODE.text, 'x', { lengthBytes: 3 })],
      { informational: true },
    ],
    [
      'a length in 64 bits that fits in 7',
      [frame(OPCODE.text, 'x', { lengthBytes: 9 })],
      { informational: true },
    ],
    [
      'a length with its highest bit set',
      [frame(OPCODE.binary, '', { claimedLength: 2n ** 63n })],
      { closes: [1002, 1009] },
    ],
    ['a length of 2⁶³ − 1', [frame(OPCODE.binary, '', { claimedLength: 2n ** 63n - 1n })], TOO_BIG],
    ['a length of 2⁵³', [frame(OPCODE.text, '', { claimedLength: 2n ** 53n })], TOO_BIG],
    [
      '16,385 bytes that never come: refused by the header alone',
      [frame(OPCODE.text, '', { claimedLength: 16385n })],
      TOO_BIG,
    ],
  ]),
]
