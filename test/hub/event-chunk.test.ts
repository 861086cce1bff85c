import { expect, it } from 'vitest'
import { Cursors } from '../../src/cursor.ts'
import { chunks } from '../../src/hub/event-chunk.ts'
import type { Sink } from '../../src/hub/sink.ts'

const sink: Pick<Sink, 'codec' | 'transport'> = {
  transport: 'sse',
  codec: { encode: (first, _ids, bodies) => Buffer.from(`${first}+${bodies.length}`) },
}

const cursors = new Cursors('alice')

it.each([
  ['a few small events', [10, 10, 10], ['1+3']],
  ['many small events', Array(70).fill(10), ['1+32', '33+32', '65+6']],
  ['large events', Array(12).fill(5000), ['1+4', '5+4', '9+4']],
  ['events each larger than a piece', [20_000, 20_000], ['1+1', '2+1']],
  ['nothing', [], []],
])('cuts %s so that no write is long', (_what, lengths: number[], cut) => {
  const bodies = lengths.map((length) => 'x'.repeat(length))
  const runs = chunks('e', cursors, { first: 1, previous: 0, times: bodies.map(() => 1), bodies })
  expect(runs.map((run) => String(run.after(run.first - 1, sink)))).toEqual(cut)
})

it('encodes a run once for all connections of a transport', () => {
  const [run] = chunks('e', cursors, { first: 1, previous: 0, times: [1], bodies: ['x'] })
  const other = { ...sink, transport: 'websocket' } as const
  expect(run?.after(0, sink)).toBe(run?.after(0, { ...sink }))
  expect(run?.after(0, other)).toBe(run?.after(0, other))
  expect(run?.after(0, other)).not.toBe(run?.after(0, sink))
})
