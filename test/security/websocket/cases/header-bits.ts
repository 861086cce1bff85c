import { type Case, chopped, numbered, PROTOCOL_ERROR } from '../case.ts'
import { closePayload, frame, OPCODE } from '../frame.ts'

const { text, binary, ping, close } = OPCODE
const HELLO = frame(text, 'Hello, world!')
const PING = frame(ping)

/** RFC 6455 §5.2: a reserved bit that no extension gave a meaning fails the connection. */
export const RESERVED_BITS: readonly Case[] = numbered('3', [
  ['RSV 1', [frame(text, 'x', { rsv: 1 })], PROTOCOL_ERROR],
  ['a text, RSV 2, a ping', [HELLO, frame(text, 'x', { rsv: 2 }), PING], PROTOCOL_ERROR],
  ['a text, RSV 3, a ping, frame by frame', [HELLO, frame(text, 'x', { rsv: 3 }), PING], PROTOCOL_ERROR],
  [
    'a text, RSV 4, a ping, byte by byte',
    [chopped(HELLO), chopped(frame(text, 'x', { rsv: 4 })), chopped(PING)],
    PROTOCOL_ERROR,
  ],
  ['binary with RSV 5', [frame(binary, 'x', { rsv: 5 })], PROTOCOL_ERROR],
  ['a ping with RSV 6', [frame(ping, 'x', { rsv: 6 })], PROTOCOL_ERROR],
  ['a close with RSV 7', [frame(close, closePayload(1000), { rsv: 7 })], PROTOCOL_ERROR],
  ['compressed (RSV 4) though no extension was agreed on', [frame(text, 'x', { rsv: 4 })], PROTOCOL_ERROR],
])

/** RFC 6455 §5.2: opcodes 3 to 7 and 11 to 15 are reserved. */
export const OPCODES: readonly Case[] = [
  ...reserved('4.1', [3, 4, 5, 6, 7]),
  ...reserved('4.2', [11, 12, 13, 14, 15]),
]

function reserved(group: string, [first = 0, second = 0, ...others]: readonly number[]): Case[] {
  return numbered(group, [
    [`opcode ${first}`, [frame(first)], PROTOCOL_ERROR],
    [`opcode ${second} with a payload`, [frame(second, 'reserved')], PROTOCOL_ERROR],
    ...others.map(
      (opcode) =>
        [`a text, opcode ${opcode}, a ping`, [HELLO, frame(opcode, 'x'), PING], PROTOCOL_ERROR] as const,
    ),
    [
      `a text, opcode ${first}, a ping, byte by byte`,
      [chopped(HELLO), chopped(frame(first)), chopped(PING)],
      PROTOCOL_ERROR,
    ],
  ])
}
