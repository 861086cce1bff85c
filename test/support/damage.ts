import fc, { type Arbitrary } from 'fast-check'
import { FakeStream, type LogRow } from './fake-log.ts'
import { bodyOf } from './stream-state.ts'

/** Something that is done to a log by hand. Numbers may be out of range: then there is nothing to damage. */
export type Damage =
  | { readonly what: 'remove'; readonly from: number; readonly count: number }
  | { readonly what: 'retime'; readonly seq: number; readonly by: number }
  | { readonly what: 'rewrite'; readonly seq: number; readonly body: string }
  | { readonly what: 'renumber'; readonly seq: number; readonly to: number }
  | { readonly what: 'repeat'; readonly seq: number }
  | { readonly what: 'head'; readonly to: number }
  | { readonly what: 'oldest'; readonly to: number }

const number = fc.integer({ min: 0, max: 16 })

const body = fc.oneof(
  number.map((seq) => bodyOf(seq)),
  number.map((seq) => `${bodyOf(seq).slice(0, -1)}\n}`),
  fc.constantFrom('', '{}', 'null', '{"seq":', 'data: x'),
  fc.string({ maxLength: 20 }),
)

export const damages: Arbitrary<Damage[]> = fc.array(
  fc.oneof(
    fc.record({
      what: fc.constant('remove' as const),
      from: number,
      count: fc.integer({ min: 1, max: 16 }),
    }),
    fc.record({ what: fc.constant('retime' as const), seq: number, by: fc.integer({ min: -3, max: 3 }) }),
    fc.record({ what: fc.constant('rewrite' as const), seq: number, body }),
    fc.record({ what: fc.constant('renumber' as const), seq: number, to: fc.integer({ min: -1, max: 18 }) }),
    fc.record({ what: fc.constant('repeat' as const), seq: number }),
    fc.record({ what: fc.constant('head' as const), to: fc.integer({ min: -2, max: 20 }) }),
    fc.record({ what: fc.constant('oldest' as const), to: fc.integer({ min: -2, max: 20 }) }),
  ),
  { maxLength: 4 },
)

/** What a stream was given in its life: how many events each statement logged, and how many were trimmed. */
export const lives = fc.record({
  statements: fc.array(fc.integer({ min: 1, max: 4 }), { maxLength: 5 }),
  trimmed: fc.integer({ min: 0, max: 16 }),
})

export function streamOf({ statements, trimmed }: { statements: number[]; trimmed: number }): FakeStream {
  const stream = new FakeStream()
  for (const [nth, count] of statements.entries()) stream.append(count, 1000 + 10 * nth)
  stream.trim(Math.min(trimmed, stream.head) + 1)
  return stream
}

export function damage(stream: FakeStream, all: readonly Damage[]): void {
  const replace = (seq: number, change: (row: LogRow) => LogRow[]) => {
    stream.rows = stream.rows.flatMap((row) => (row.seq === seq ? change(row) : [row]))
  }
  for (const one of all) {
    switch (one.what) {
      case 'remove':
        stream.rows = stream.rows.filter(({ seq }) => seq < one.from || seq >= one.from + one.count)
        break
      case 'retime':
        replace(one.seq, (row) => [{ ...row, time: row.time + one.by }])
        break
      case 'rewrite':
        replace(one.seq, (row) => [{ ...row, body: one.body }])
        break
      case 'renumber':
        if (stream.row(one.to) === undefined) replace(one.seq, (row) => [{ ...row, seq: one.to }])
        break
      case 'repeat':
        stream.repeated.add(one.seq)
        break
      case 'head':
        stream.head = one.to
        break
      case 'oldest':
        stream.oldest = one.to
        break
    }
  }
}
