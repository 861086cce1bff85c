import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { formatCursor, parseResumePoint } from '../../src/event.ts'
import { StreamCursor } from '../../src/transport/stream-cursor.ts'
import { formatOffset, parseOffset } from '../../src/transport/stream-offset.ts'

const seqs = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER })

describe('an offset', () => {
  it('leads back to its cursor', () => {
    fc.assert(
      fc.property(seqs, (seq) => {
        const cursor = formatCursor({ epoch: '7f3a9c', seq, check: 'a1' })
        expect(parseOffset(formatOffset(cursor))).toEqual(parseResumePoint(cursor))
      }),
    )
  })

  it('sorts as text as its place does', () => {
    fc.assert(
      fc.property(seqs, seqs, (one, other) => {
        const [a, b] = [one, other].map((seq) =>
          formatOffset(formatCursor({ epoch: '7f3a9c', seq, check: 'a1' })),
        ) as [string, string]
        expect(a < b).toBe(one < other)
      }),
    )
  })

  it('keeps what follows the number in a cursor', () => {
    expect(formatOffset('7f3a9c.42.k3x9q1')).toBe('7f3a9c.0000000000000042.k3x9q1')
  })

  it('may be of a cursor of 0.1, which has no check', () => {
    expect(formatOffset('7f3a9c.42')).toBe('7f3a9c.0000000000000042')
    const place = { from: 'cursor', epoch: '7f3a9c', seq: 42, check: undefined }
    expect(parseOffset('7f3a9c.0000000000000042')).toEqual(place)
  })

  it.each<readonly [string, string]>([
    ['-1', 'oldest'],
    ['now', 'now'],
    ...[
      '',
      '0',
      '-2',
      'NOW',
      '7f3a9c.42',
      '7f3a9c.00000000000000042',
      '7f3a9c.000000000000004x',
      ' ',
      ',',
    ].map((text) => [text, 'invalid'] as const),
  ])('%j means %s', (text, from) => {
    expect(parseOffset(text)).toEqual({ from })
  })
})

describe('Stream-Cursor', () => {
  const START = Date.UTC(2024, 9, 9)
  const at = (interval: number) => () => START + interval * 20_000 + 7

  it('is the number of the interval where the client has none, an older one, or nonsense', () => {
    for (const echoed of [null, '', '99', '-5', '1e3', 'x', '9'.repeat(16)])
      expect([echoed, new StreamCursor(echoed, at(100)).value]).toEqual([echoed, '100'])
  })

  it('is beyond what the client has, by at most an hour', () => {
    for (const random of [0, 0.5, 0.999999]) {
      const value = Number(new StreamCursor('120', at(100), () => random).value)
      expect(value).toBeGreaterThan(120)
      expect(value).toBeLessThanOrEqual(120 + 180)
    }
  })

  it('never goes back while its stream lasts', () => {
    let interval = 100
    const cursor = new StreamCursor(
      '100',
      () => at(interval)(),
      () => 0.01,
    )
    const values: number[] = []
    for (interval of [100, 101, 100, 110]) values.push(Number(cursor.value))
    expect(values).toEqual([102, 102, 102, 110])
  })
})
