import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Position, StreamPage } from '../../src/event.ts'
import { continueAfter } from '../../src/hub/continuation.ts'
import { edgeOf } from '../../src/hub/resume.ts'
import { damage, damages, lives, streamOf } from '../support/damage.ts'
import type { FakeStream } from '../support/fake-log.ts'
import { bodyOf, pageOf } from '../support/stream-state.ts'

/** A reader that takes page after page from a place on, as a connection that is behind does. */
function readFrom(stream: FakeStream, start: Position, limit: number, lead = 0) {
  const words: (number | string)[] = []
  let place = start
  // Each step takes an event, passes a hole, or moves to an edge; a reader that needs more goes in a circle.
  for (let steps = 0; steps <= 3 * (stream.rows.length + 10); steps++) {
    const page = stream.page('e1', Math.max(-2, place.seq - lead), limit + lead)
    const continuation = continueAfter(place, page)
    if (continuation === undefined) return { words, place, page }
    if ('reset' in continuation) {
      words.push(continuation.reset)
      place = continuation.to
      continue
    }
    const { first, previous, times, bodies } = continuation.run
    expect(first).toBe(place.seq + 1)
    expect(times).toHaveLength(bodies.length)
    expect(bodies.length).toBeGreaterThan(0)
    if (place.time !== undefined) expect(previous).toBe(place.time)
    for (const [i, body] of bodies.entries()) {
      const seq = first + i
      // Another event under this number, or one that is not in the log, must not be told.
      expect(JSON.parse(body).seq).toBe(seq)
      expect(body).not.toMatch(/[\r\n]/)
      expect(stream.rows.some((row) => row.seq === seq && row.body === body && row.time === times[i])).toBe(
        true,
      )
      words.push(seq)
    }
    place = { seq: first + bodies.length - 1, time: times.at(-1) }
  }
  throw new Error(`no end: ${words.slice(-20)}`)
}

const place = fc.record({
  seq: fc.integer({ min: -1, max: 18 }),
  time: fc.option(fc.constantFrom(0, 1000, 1010, 1020, 1030), { nil: undefined }),
})
const limit = fc.integer({ min: 1, max: 20 })
/** How far before the place the page begins, as where it was read for a connection that is further behind. */
const lead = fc.integer({ min: 0, max: 3 })

const RUNS = 3000

describe('how a stream goes on after a place', () => {
  it('whatever was done to the log: with exactly the next event, or with a reset, up to the head', () => {
    fc.assert(
      fc.property(lives, damages, place, limit, lead, (life, done, start, limit, lead) => {
        const stream = streamOf(life)
        damage(stream, done)
        const { place, page } = readFrom(stream, start, limit, lead)
        expect(place.seq).toBe(page.head)
      }),
      { numRuns: RUNS },
    )
  })

  it('where nothing was done to it: with every event that is kept, and no reset', () => {
    fc.assert(
      fc.property(lives, fc.nat(20), limit, lead, (life, from, limit, lead) => {
        const stream = streamOf(life)
        const seq = stream.oldest - 1 + (from % (stream.head - stream.oldest + 2))
        const edge = edgeOf(stream)
        const start = { seq, time: seq === edge.seq ? edge.time : stream.row(seq)?.time }
        const { words } = readFrom(stream, start, limit, lead)
        expect(words).toEqual(stream.rows.map((row) => row.seq).filter((each) => each > seq))
      }),
      { numRuns: RUNS },
    )
  })

  it('where events are missing: with all before them, one word, and all behind them', () => {
    fc.assert(
      fc.property(lives, fc.nat(20), fc.nat(20), limit, (life, from, count, limit) => {
        const stream = streamOf({ ...life, trimmed: 0 })
        fc.pre(stream.head > 0)
        const first = 1 + (from % stream.head)
        const behind = Math.min(stream.head + 1, first + 1 + count)
        damage(stream, [{ what: 'remove', from: first, count: behind - first }])
        const numbers = stream.rows.map(({ seq }) => seq)
        const { words } = readFrom(stream, { seq: 0, time: 0 }, limit)
        expect(words).toEqual([
          ...numbers.filter((seq) => seq < first),
          'gap',
          ...numbers.filter((seq) => seq >= behind),
        ])
      }),
      { numRuns: RUNS },
    )
  })

  it('where another event stands at the place: with a reset to the end, and none of its events', () => {
    fc.assert(
      fc.property(lives, fc.nat(20), fc.constantFrom(-1, 1, 500), limit, (life, from, by, limit) => {
        const stream = streamOf({ ...life, trimmed: 0 })
        fc.pre(stream.head > 0)
        const seq = 1 + (from % stream.head)
        const time = (stream.row(seq)?.time ?? 0) + by
        expect(readFrom(stream, { seq, time }, limit).words).toEqual(['epoch'])
      }),
      { numRuns: RUNS },
    )
  })

  it('where the event at the place is gone: with a reset, because nothing proves the history any more', () => {
    fc.assert(
      fc.property(lives, fc.nat(20), limit, (life, from, limit) => {
        const stream = streamOf({ ...life, trimmed: 0 })
        fc.pre(stream.head > 1)
        const seq = 1 + (from % (stream.head - 1))
        const time = stream.row(seq)?.time ?? 0
        damage(stream, [{ what: 'remove', from: seq, count: 1 }])
        const { words } = readFrom(stream, { seq, time }, limit)
        expect(words).toEqual(['gap', ...stream.rows.map((row) => row.seq).filter((each) => each > seq)])
      }),
      { numRuns: RUNS },
    )
  })
})

describe('what follows a place', () => {
  /** The events 5 and 6 after 4, all of a stream that begins with 4. */
  const page = (seqs = [4, 5, 6], known: Partial<StreamPage> = {}) =>
    pageOf(4, seqs, { head: 6, oldest: 4, ...known })
  const end = { seq: 6, time: 6 }

  it.each<[string, Position, StreamPage, unknown]>([
    ['nothing at the end', end, page(), undefined],
    ['a reset past the end', { seq: 7, time: 7 }, page(), { reset: 'ahead', to: end }],
    [
      'a reset before what is kept',
      { seq: 2, time: 2 },
      page(),
      { reset: 'trimmed', to: { seq: 3, time: 3 } },
    ],
    ['a reset where another event is there', { seq: 4, time: 99 }, page(), { reset: 'epoch', to: end }],
    ['a reset where another event was trimmed', { seq: 3, time: 99 }, page(), { reset: 'epoch', to: end }],
    [
      'a reset over a hole',
      { seq: 4, time: 4 },
      page([4, 6]),
      { reset: 'gap', to: { seq: 5, time: undefined } },
    ],
    ['a reset where all of the page is missing', { seq: 4, time: 4 }, page([4]), { reset: 'gap', to: end }],
    ['nothing in a page that ends too early', { seq: 4, time: 4 }, page([4], { complete: false }), undefined],
    [
      'a reset to the end where only events past it are left',
      { seq: 4, time: 4 },
      page([4, 7], { complete: false }),
      { reset: 'gap', to: end },
    ],
    [
      'a reset over an event whose body is none',
      { seq: 4, time: 4 },
      page([4, 5, 6], { bodies: ['', 'x', bodyOf(6)] }),
      { reset: 'gap', to: { seq: 5, time: 5 } },
    ],
  ])('is %s', (_, place, read, continuation) => {
    expect(continueAfter(place, read)).toEqual(continuation)
  })

  it.each<[string, Position, StreamPage, number[], number | undefined]>([
    ['all events of the page', { seq: 4, time: 4 }, page(), [5, 6], 4],
    ['those up to the end', { seq: 4, time: 4 }, page([4, 5, 6, 7]), [5, 6], 4],
    ['those up to a hole', { seq: 3, time: 3 }, page([4, 6]), [4], 3],
    [
      'those up to a number that is not that of its body',
      { seq: 4, time: 4 },
      page([4, 5, 9], { head: 9, bodies: ['', bodyOf(5), bodyOf(6)] }),
      [5],
      4,
    ],
    ['events after a place that 0.1 gave, without its time', { seq: 4, time: undefined }, page(), [5, 6], 4],
    [
      'events after what 0.1 trimmed, without noting its time',
      { seq: 3, time: 3 },
      page([4, 5, 6], { trimmedTime: undefined }),
      [4, 5, 6],
      3,
    ],
  ])('is a run of %s', (_, place, read, seqs, previous) => {
    const bodies = seqs.map((seq) => bodyOf(seq))
    const whole = {
      ...read,
      bodies: read.seqs.map((seq, i) => (seq === 4 ? bodyOf(4) : (read.bodies[i] ?? ''))),
    }
    expect(continueAfter(place, whole)).toEqual({ run: { first: seqs[0], previous, times: seqs, bodies } })
  })
})
