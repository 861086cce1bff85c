import { type Attack, framed, request, type Target } from './attack.ts'

const CHUNKED = 'Transfer-Encoding: chunked'
const EMPTY_CHUNKS = '0\r\n\r\n'

const refused = (what: string, bytes: Attack['bytes']): Attack => ({ what, bytes, expected: 'refused' })

/** Two lengths that a proxy in front and we could each read differently (RFC 9112 §6.3, §11.2). */
const LENGTHS: readonly Attack[] = [
  refused('CL.TE', (target) =>
    framed(`Content-Length: ${EMPTY_CHUNKS.length}`, CHUNKED)(target, EMPTY_CHUNKS),
  ),
  refused('TE.CL', (target) => framed(CHUNKED, 'Content-Length: 4')(target, EMPTY_CHUNKS)),
  ...[
    ['twice the same', 'Content-Length: 2', 'Content-Length: 2'],
    ['two different', 'Content-Length: 2', 'Content-Length: 200'],
    ['a list', 'Content-Length: 2, 2'],
    ['signed', 'Content-Length: +2'],
    ['negative', 'Content-Length: -2'],
    ['hexadecimal', 'Content-Length: 0x2'],
    ['with a fraction', 'Content-Length: 2.0'],
    ['in two words', 'Content-Length: 2 2'],
    ['empty', 'Content-Length: '],
    ['with a NUL', 'Content-Length: 2\0'],
    ['past 64 bits', 'Content-Length: 18446744073709551618'],
    ['with a blank before the colon', 'Content-Length : 2'],
    ['folded', 'Content-Length:\r\n 2'],
  ].map(([what = '', ...lines]) =>
    refused(`Content-Length ${what}`, (target) => framed(...lines)(target, '{}')),
  ),
]

/** Ways to write Transfer-Encoding that some read as chunked and some don't. */
const OBFUSCATED: readonly Attack[] = [
  ['unknown', 'Transfer-Encoding: xchunked'],
  ['identity', 'Transfer-Encoding: identity'],
  ['chunked is not the last', 'Transfer-Encoding: chunked, identity'],
  ['chunked twice', 'Transfer-Encoding: chunked, chunked'],
  ['two lines, the second unknown', CHUNKED, 'Transfer-Encoding: cow'],
  ['two lines, the first unknown', 'Transfer-Encoding: cow', 'transfer-encoding: chunked, cow'],
  ['quoted', 'Transfer-Encoding: "chunked"'],
  ['a blank before the colon', 'Transfer-Encoding : chunked'],
  ['a tab before the colon', 'Transfer-Encoding\t: chunked'],
  ['a blank before the name', ' Transfer-Encoding: chunked'],
  ['folded', 'Transfer-Encoding:\r\n chunked'],
  ['a vertical tab', 'Transfer-Encoding: \u000bchunked'],
  ['a NUL', 'Transfer-Encoding: \0chunked'],
  ['after a bare LF', 'X: x\nTransfer-Encoding: chunked'],
  ['after a bare CR', 'X: x\rTransfer-Encoding: chunked'],
  ['with a parameter', 'Transfer-Encoding: chunked;foo=bar'],
].map(([what = '', ...lines]) =>
  refused(`Transfer-Encoding: ${what}`, (target) =>
    framed(...lines, `Content-Length: ${EMPTY_CHUNKS.length}`)(target, EMPTY_CHUNKS),
  ),
)

const chunks = (what: string, body: string) =>
  refused(`chunks: ${what}`, (target) => framed(CHUNKED)(target, body))

/** RFC 9112 §7.1. */
const CHUNKS: readonly Attack[] = [
  chunks('a size with 0x', '0x2\r\n{}\r\n0\r\n\r\n'),
  chunks('a negative size', '-2\r\n{}\r\n0\r\n\r\n'),
  chunks('a size past 64 bits', '10000000000000002\r\n{}\r\n0\r\n\r\n'),
  chunks('an empty size', '\r\n{}\r\n0\r\n\r\n'),
  chunks('a size with a blank before it', ' 2\r\n{}\r\n0\r\n\r\n'),
  chunks('bare LF after the size', '2\n{}\r\n0\r\n\r\n'),
  chunks('bare CR after the size', '2\r{}\r\n0\r\n\r\n'),
  chunks('more data than the size', '2\r\n{}}\r\n0\r\n\r\n'),
  chunks('no line end after the data', '2\r\n{}0\r\n\r\n'),
  chunks('bare LF after the data', '2\r\n{}\n0\r\n\r\n'),
  chunks('an extension with a bare LF', '2;a\nb\r\n{}\r\n0\r\n\r\n'),
  chunks('an extension with a NUL', '2;a\0b\r\n{}\r\n0\r\n\r\n'),
  chunks('an extension of 20 KiB', `2;${'a'.repeat(20_480)}\r\n{}\r\n0\r\n\r\n`),
  chunks('a body that outgrows 16 KiB', `${'1000\r\n'.concat(' '.repeat(4096), '\r\n').repeat(5)}0\r\n\r\n`),
]

/** A body where none is awaited: it must be passed over as long as it says it is, not taken for a request. */
const UNREAD: readonly Attack[] = [
  ['GET /livez', 200],
  ['DELETE /livez', 405],
  ['GET /nowhere', 404],
  ['OPTIONS /stories', 204],
  ['POST /stories/not-a-story/view', 404],
].flatMap(([line, status]) => [
  {
    what: `a body with ${line}`,
    bytes: (target: Target) =>
      request(String(line), target, `Content-Length: ${target.smuggled.length}`) + target.smuggled,
    expected: [Number(status)],
  },
  {
    what: `a body in chunks with ${line}`,
    bytes: (target: Target) =>
      `${request(String(line), target, CHUNKED)}${target.smuggled.length.toString(16)}\r\n${target.smuggled}\r\n0\r\n\r\n`,
    expected: [Number(status)],
  },
])

export const SMUGGLING: readonly Attack[] = [...LENGTHS, ...OBFUSCATED, ...CHUNKS, ...UNREAD]
