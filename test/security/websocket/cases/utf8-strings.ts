/** Byte strings after Markus Kuhn's UTF-8 decoder stress test, which the Autobahn suite uses too: name and hex. */

export const KOSME = Buffer.from('κόσμε')

const hex = (...points: number[]) => Buffer.from(String.fromCodePoint(...points)).toString('hex')
const name = (point: number) => `U+${point.toString(16).toUpperCase().padStart(4, '0')}`
const named = (...points: number[]) => points.map((point) => [name(point), hex(point)] as const)

/** The last two of every plane, which are characters as good as any on the wire. */
const NONCHARACTERS = Array.from({ length: 17 }, (_, plane) => [
  plane * 0x10000 + 0xfffe,
  plane * 0x10000 + 0xffff,
]).flat()

export const GOOD_UTF8: readonly (readonly [string, string])[] = [
  ['a Greek word', KOSME.toString('hex')],
  // The first and the last of each length, and what lies around the surrogates.
  ...named(0, 0x7f, 0x80, 0x7ff, 0x800, 0xd7ff, 0xe000, 0xfffd, 0xffff, 0x10000, 0x10ffff),
  // Specials: a byte order mark, interlinear annotation, object replacement.
  ...named(0xfeff, 0xfff9, 0xfffa, 0xfffb, 0xfffc),
  ...named(0xfdd0, 0xfdef),
  ...named(...NONCHARACTERS),
  ['all of them', hex(0x7f, 0x80, 0x7ff, 0x800, 0xd7ff, 0xe000, 0xfffd, 0x10000, 0x10ffff)],
]

const SURROGATES = ['eda080', 'edadbf', 'edae80', 'edafbf', 'edb080', 'edbe80', 'edbfbf']
const [HIGH, LOW] = [SURROGATES.slice(0, 4), SURROGATES.slice(4)]

const LONELY_STARTS = [
  ...Array.from({ length: 32 }, (_, i) => 0xc0 + i),
  ...Array.from({ length: 16 }, (_, i) => 0xe0 + i),
  ...Array.from({ length: 8 }, (_, i) => 0xf0 + i),
  0xf8,
  0xfb,
  0xfc,
  0xfd,
].map((byte) => byte.toString(16))

/** A sequence without its last byte. */
const CUT_OFF = [
  'c0',
  'e080',
  'f08080',
  'f8808080',
  'fc80808080',
  'df',
  'efbf',
  'f7bfbf',
  'fbbfbfbf',
  'fdbfbfbfbf',
]

const OVERLONG = {
  'a slash': ['c0af', 'e080af', 'f08080af', 'f8808080af', 'fc80808080af'],
  'the last of a shorter length': ['c1bf', 'e09fbf', 'f08fbfbf', 'f887bfbfbf', 'fc83bfbfbfbf'],
  'a NUL': ['c080', 'e08080', 'f0808080', 'f880808080', 'fc8080808080'],
}

const rows = (what: string, strings: readonly string[]) =>
  strings.map((bytes) => [`${what}: ${bytes}`, bytes] as const)

export const BAD_UTF8: readonly (readonly [string, string])[] = [
  ...rows('the first of five or six bytes', ['f888808080', 'fc8480808080']),
  ...rows('the last of four, five or six bytes', ['f7bfbfbf', 'fbbfbfbfbf', 'fdbfbfbfbfbf']),
  ['one past the last character', 'f4908080'],
  ...rows(
    'continuations of nothing',
    Array.from({ length: 7 }, (_, i) => '80bf80bf80bf80'.slice(0, 2 * (i + 1))),
  ),
  ['every continuation byte', Array.from({ length: 64 }, (_, i) => (0x80 + i).toString(16)).join('')],
  ...rows(
    'a lonely start, then a space',
    LONELY_STARTS.map((start) => `${start}20`),
  ),
  ['all lonely starts', LONELY_STARTS.map((start) => `${start}20`).join('')],
  ...rows('a sequence cut off', CUT_OFF),
  ['all sequences cut off', CUT_OFF.join('')],
  ...rows('bytes that never occur', ['fe', 'ff', 'fefeffff']),
  ...Object.entries(OVERLONG).flatMap(([what, strings]) => rows(`${what}, overlong`, strings)),
  ...rows('a lonely surrogate', SURROGATES),
  ...rows(
    'a pair of surrogates',
    HIGH.flatMap((high) => LOW.map((low) => high + low)),
  ),
]
