import { expect, it } from 'vitest'
import { Cursors } from '../../src/cursor.ts'
import { chunks } from '../../src/hub/event-chunk.ts'
import type { Sink } from '../../src/hub/sink.ts'

const sink: Pick<Sink, 'codec' | 'transport'> = {
  transport: 'sse',
  codec: { encode: (ids, bodies) => `${ids[0]?.split('.')[1]}+${bodies.length}` },
}

const cursors = new Cursors('alice')

it.each([
  ['a few small events', [10, 10, 10], ['1+3']],
  ['many small events', Array(70).fill(10), ['1+32', '33+32', '65+6']],
  ['large events', Array(12).fill(5000), ['1+4', '5+4', '9+4']],
  ['an event of exactly the size of a piece', [16_384, 10], ['1+1', '2+1']],
  ['events each larger than a piece', [20_000, 20_000], ['1+1', '2+1']],
  ['nothing', [], []],
])('cuts %s so that no write is long', (_what, lengths: number[], cut) => {
  const bodies = lengths.map((length) => 'x'.repeat(length))
  const runs = chunks('e', cursors, { first: 1, previous: 0, times: bodies.map(() => 1), bodies })
  expect(runs.map((run) => run.after(run.first - 1, sink))).toEqual(cut)
})

it('encodes a run once for all connections of a transport', () => {
  let encoded = 0
  const codec = { encode: () => String(++encoded) }
  const [run] = chunks('e', cursors, { first: 1, previous: 0, times: [1], bodies: ['x'] })
  for (const transport of ['sse', 'websocket'] as const)
    for (const _connection of [1, 2]) run?.after(0, { codec, transport })
  expect(encoded).toBe(2)
})

it('a later piece says when the event before it was logged, which proves that it follows', () => {
  const times = Array.from({ length: 40 }, (_, i) => 1000 + i)
  const run = { first: 1, previous: 999, times, bodies: times.map(() => '{}') }
  const [one, other] = chunks('e1', cursors, run)
  expect([one?.timeAt(0), one?.timeAt(1), one?.timeAt(32)]).toEqual([999, 1000, 1031])
  expect([other?.timeAt(32), other?.timeAt(33), other?.timeAt(40)]).toEqual([1031, 1032, 1039])
})
