import { once } from 'node:events'
import type { Writable } from 'node:stream'
import { createParser, type EventSourceMessage } from 'eventsource-parser'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import * as ws from 'ws'
import { type ControlMessage, formatCursor } from '../../src/event.ts'
import { sseCodec, sseControl } from '../../src/transport/sse.ts'
import { websocketCodec } from '../../src/transport/websocket.ts'
import { countCases, times } from './support/full.ts'
import { NAUGHTY } from './support/naughty.ts'

const RUNS = times(300, 10_000)

/** What ends a line somewhere, or a frame, or a string. */
const TRICKY = [
  '\n',
  '\r',
  '\r\n',
  '\n\n',
  '\0',
  '\u2028',
  '\u2029',
  '\u0085',
  '\ufeff',
  ':',
  'data: x',
  'id: 1\n\n',
  '"',
  '\\',
  '\ud800',
]

const anyText = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 300 }),
  fc.constantFrom(...NAUGHTY, ...TRICKY),
  fc.array(fc.constantFrom(...TRICKY, 'a', '🦊'), { maxLength: 20 }).map((parts) => parts.join('')),
)

/** Pads a run so that its frames lie on both sides of each length that a WebSocket header writes differently. */
const padding = fc.oneof(
  fc.constant(0),
  fc.integer({ min: 0, max: 200 }),
  fc.integer({ min: 65_300, max: 65_600 }),
)

const anyRun = fc.record({
  epoch: fc.stringMatching(/^[0-9a-z]{1,32}$/),
  first: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER - 10 }),
  events: fc.array(
    fc.record({ type: fc.constantFrom('story.viewed', 'story.reacted'), text: anyText, pad: padding }),
    { minLength: 1, maxLength: 5 },
  ),
})

/** The run as the log keeps it, and what a client must read. */
function logged({ epoch, first, events }: typeof anyRun extends fc.Arbitrary<infer Run> ? Run : never) {
  const bodies = events.map(({ type, text, pad }, i) =>
    JSON.stringify({
      seq: first + i,
      type,
      data: { viewer_id: text, pad: '*'.repeat(pad) },
      timestamp: 'now',
    }),
  )
  const ids = bodies.map((_, i) =>
    formatCursor({ epoch, seq: first + i, check: (first * 31 + i).toString(16) }),
  )
  const expected = bodies.map((body, i) => ({ id: ids[i], ...JSON.parse(body) }))
  return { ids, bodies, expected }
}

const cuts = fc.array(fc.integer({ min: 1, max: 97 }), { minLength: 1, maxLength: 5 })

/** The bytes in pieces of the given sizes, over and over, as a network may bring them. */
function* pieces(bytes: Buffer, sizes: readonly number[]): Generator<Buffer> {
  for (let at = 0, i = 0; at < bytes.length; i += 1) {
    // The first kilobytes are where frames begin; a long padding need not be cut so small.
    const size = (sizes[i % sizes.length] ?? 1) * (at > 4096 ? 100 : 1)
    yield bytes.subarray(at, at + size)
    at += size
  }
}

function readSse(bytes: Buffer, sizes: readonly number[]): EventSourceMessage[] {
  const messages: EventSourceMessage[] = []
  const parser = createParser({ onEvent: (message) => messages.push(message) })
  const decoder = new TextDecoder()
  for (const piece of pieces(bytes, sizes)) parser.feed(decoder.decode(piece, { stream: true }))
  return messages
}

it('SSE: what an independent parser reads is what was sent, for any text and however it is cut', async (context) => {
  fc.assert(
    fc.property(anyRun, cuts, (run, sizes) => {
      const { ids, bodies, expected } = logged(run)
      const messages = readSse(Buffer.from(sseCodec.encode(ids, bodies), 'latin1'), sizes)
      expect(messages.map(({ data }) => JSON.parse(data))).toEqual(expected)
      expect(messages.map(({ id, event }) => ({ id, type: event }))).toEqual(
        expected.map(({ id, type }) => ({ id, type })),
      )
    }),
    { numRuns: RUNS },
  )
  countCases(context, RUNS)
})

it('SSE: so it is with what the stream says about itself', async (context) => {
  const message = fc.record({
    type: fc.constantFrom('stream.open', 'stream.reset'),
    data: fc.record({
      cursor: fc.stringMatching(/^[0-9a-z]{1,32}\.\d{1,15}$/),
      reason: anyText,
      oldest: fc.nat(),
    }),
  })
  fc.assert(
    fc.property(message, cuts, (sent, sizes) => {
      const bytes = Buffer.from(sseControl(sent as unknown as ControlMessage))
      expect(readSse(bytes, sizes)).toEqual([
        { id: sent.data.cursor, event: sent.type, data: JSON.stringify(sent) },
      ])
    }),
    { numRuns: RUNS },
  )
  countCases(context, RUNS)
})

interface Parser {
  readonly Receiver: new (options: { readonly isServer: boolean }) => Writable
}
const { Receiver } = ws as unknown as Parser

it('WebSocket: so it is with its frames', async (context) => {
  await fc.assert(
    fc.asyncProperty(anyRun, cuts, async (run, sizes) => {
      const { ids, bodies, expected } = logged(run)
      const receiver = new Receiver({ isServer: false })
      const messages: unknown[] = []
      receiver.on('message', (data: Buffer, isBinary: boolean) => {
        messages.push(isBinary ? data : JSON.parse(data.toString()))
      })
      const frames = Buffer.from(websocketCodec.encode(ids, bodies), 'latin1')
      for (const piece of pieces(frames, sizes)) receiver.write(piece)
      receiver.end()
      await once(receiver, 'finish')
      expect(messages).toEqual(expected)
    }),
    { numRuns: RUNS },
  )
  countCases(context, RUNS)
})
