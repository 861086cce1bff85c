import { ALIVE, BAD_TEXT, type Case, chopped, type Expectation, numbered, type Step } from '../case.ts'
import { fragments, frame, OPCODE } from '../frame.ts'
import { BAD_UTF8, GOOD_UTF8, KOSME } from './utf8-strings.ts'

const { text, continuation } = OPCODE
const SENTENCE = Buffer.from('Hello-µ@ßöäüàá-UTF-8!!')
/** Valid, then a surrogate, then valid again. */
const BROKEN = ['cebae1bdb9cf83cebcceb5', 'f4908080', '656469746564'].map((hex) => Buffer.from(hex, 'hex'))
const ALL_BROKEN = Buffer.concat(BROKEN)
const LATE: Expectation = { closes: [1007], failFast: true }
const PAUSE = { pause: 50 }

const pieces = (parts: readonly Buffer[]): Buffer[] =>
  parts.map((part, i) => frame(i === 0 ? text : continuation, part, { fin: i === parts.length - 1 }))

/** Splits a frame of an invalid text: up to before the fault, the fault, the rest. */
function slowly(cut: number, alsoAt: number): Step[] {
  const bytes = frame(text, ALL_BROKEN)
  const header = bytes.length - ALL_BROKEN.length
  return [
    bytes.subarray(0, header + cut),
    PAUSE,
    bytes.subarray(header + cut, header + alsoAt),
    PAUSE,
    bytes.subarray(header + alsoAt),
  ]
}

const single = ([name, hex]: readonly [string, string], expected: Expectation) =>
  [name, [frame(text, Buffer.from(hex, 'hex'))], expected] as const

/** RFC 6455 §8.1: a text that is no UTF-8 fails the connection, wherever it is cut. */
export const UTF8: readonly Case[] = [
  ...numbered('6.1', [
    ['an empty text', [frame(text)], ALIVE],
    ['three empty pieces', pieces([Buffer.alloc(0), Buffer.alloc(0), Buffer.alloc(0)]), ALIVE],
    ['empty, a text, empty', pieces([Buffer.alloc(0), Buffer.from('middle'), Buffer.alloc(0)]), ALIVE],
  ]),
  ...numbered('6.2', [
    ['a valid text', [frame(text, SENTENCE)], ALIVE],
    ['in two pieces, cut between characters', pieces([SENTENCE.subarray(0, 8), SENTENCE.subarray(8)]), ALIVE],
    ['in pieces of one byte', fragments(text, SENTENCE, 1), ALIVE],
    ['another in pieces of one byte', fragments(text, KOSME, 1), ALIVE],
    ['a frame byte by byte', [chopped(frame(text, SENTENCE))], ALIVE],
  ]),
  ...numbered('6.3', [
    ['an invalid text', [frame(text, ALL_BROKEN)], BAD_TEXT],
    ['an invalid text in pieces of one byte', fragments(text, ALL_BROKEN, 1), BAD_TEXT],
  ]),
  ...numbered('6.4', [
    [
      'three pieces, the second invalid',
      pieces(BROKEN).flatMap((bytes, i) => (i === 0 ? [bytes] : [PAUSE, bytes])),
      LATE,
    ],
    [
      'three pieces, the fault at the end of the second',
      pieces([ALL_BROKEN.subarray(0, 12), ALL_BROKEN.subarray(12, 13), ALL_BROKEN.subarray(13)]).flatMap(
        (bytes, i) => (i === 0 ? [bytes] : [PAUSE, bytes]),
      ),
      LATE,
    ],
    ['one frame in three parts, the second invalid', slowly(11, 15), LATE],
    ['one frame in three parts, the fault at the end of the second', slowly(12, 13), LATE],
  ]),
  ...numbered(
    '6.5',
    GOOD_UTF8.map((row) => single(row, ALIVE)),
  ),
  ...numbered(
    '6.6',
    Array.from({ length: KOSME.length }, (_, i) => {
      const cut = KOSME.subarray(0, i + 1)
      // A continuation byte that follows the cut belongs to a character that is not all there.
      const whole = ((KOSME[i + 1] ?? 0) & 0xc0) !== 0x80
      return [`the first ${i + 1} bytes of "κόσμε"`, [frame(text, cut)], whole ? ALIVE : BAD_TEXT] as const
    }),
  ),
  ...numbered(
    '6.7',
    BAD_UTF8.map((row) => single(row, BAD_TEXT)),
  ),
]
