import { expect, it } from 'vitest'
import { pieces } from '../../src/hub/run.ts'
import type { Codec } from '../../src/hub/sink.ts'

const codec: Codec = { encode: (_epoch, first, bodies) => Buffer.from(`${first}+${bodies.length}`) }

it.each([
  ['a few small events', [10, 10, 10], ['1+3']],
  ['many small events', Array(70).fill(10), ['1+32', '33+32', '65+6']],
  ['large events', Array(12).fill(5000), ['1+4', '5+4', '9+4']],
  ['events each larger than a piece', [20_000, 20_000], ['1+1', '2+1']],
  ['nothing', [], []],
])('cuts %s so that no write is long', (_what, lengths: number[], cut) => {
  const bodies = lengths.map((length) => 'x'.repeat(length))
  const runs = [...pieces('e', { first: 1, bodies })]
  expect(runs.map((run) => String(run.after(run.first - 1, codec)))).toEqual(cut)
})
