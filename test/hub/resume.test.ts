import { describe, expect, it } from 'vitest'
import { Cursors } from '../../src/cursor.ts'
import { parseResumePoint } from '../../src/event.ts'
import { readOf, startFrom } from '../../src/hub/resume.ts'
import { headOf } from '../support/stream-state.ts'

const cursors = new Cursors('alice')
const stream = { ...headOf({ head: 10, oldest: 4 }), askedTime: 7 }
/** As the service gives it: the time of each event is its number. */
const cursor = (seq: number, time = seq) => cursors.format('e1', { seq, time })

const end = { seq: 10, time: 10, resumed: false }
const edge = { seq: 3, time: 3, resumed: false }

describe('where a connection starts in a stream of 10 whose oldest event kept is 4', () => {
  it.each([
    ['nothing asked', undefined, { ...end, reset: undefined }],
    ['an empty text', '', { ...end, reset: undefined }],
    ['0', '0', { ...edge, reset: undefined }],
    ['the head', cursor(10), { seq: 10, time: 10, resumed: true, reset: undefined }],
    ['one in between', cursor(7), { seq: 7, time: 7, resumed: true, reset: undefined }],
    ['just before the oldest', cursor(3), { seq: 3, time: 3, resumed: true, reset: undefined }],
    ['one earlier', cursor(2), { ...edge, reset: 'trimmed' }],
    ['the beginning', cursor(0), { ...edge, reset: 'trimmed' }],
    ['one past the head', cursor(11), { ...end, reset: 'ahead' }],
    ['the head of a history that went on differently', cursor(10, 11), { ...end, reset: 'epoch' }],
    ['a number between, logged at another time', cursor(7, 8), { ...end, reset: 'epoch' }],
    ['the edge, logged at another time', cursor(3, 4), { ...end, reset: 'epoch' }],
    ['another user', new Cursors('bob').format('e1', { seq: 7, time: 7 }), { ...end, reset: 'epoch' }],
    ['a check that none can have', 'e1.7.zzz', { ...end, reset: 'epoch' }],
    ['another epoch', 'e2.5.1', { ...end, reset: 'epoch' }],
    ['a cursor of 0.1 at the head', 'e1.10', { seq: 10, time: 10, resumed: true, reset: undefined }],
    ['a cursor of 0.1 between', 'e1.7', { seq: 7, time: 7, resumed: true, reset: undefined }],
    ['a cursor of 0.1 from another epoch', 'e2.5', { ...end, reset: 'epoch' }],
    ['garbage', 'garbage', { ...end, reset: 'invalid' }],
    ['a seq that no number holds', 'e1.9999999999999999', { ...end, reset: 'invalid' }],
    ['a seq with a leading zero', 'e1.05', { ...end, reset: 'invalid' }],
    ['a negative seq', 'e1.-1', { ...end, reset: 'invalid' }],
    ['a cursor with a line break', 'e1.5\n', { ...end, reset: 'invalid' }],
    ['a cursor with a part too many', `${cursor(5)}.1`, { ...end, reset: 'invalid' }],
    ['a cursor with an empty check', 'e1.5.', { ...end, reset: 'invalid' }],
  ])('%s', (_, text, start) => {
    expect(startFrom(parseResumePoint(text), stream, cursors)).toEqual(start)
  })

  it('whose event at the cursor somebody removed: it is told', () => {
    const holed = { ...stream, askedTime: undefined }
    expect(startFrom(parseResumePoint(cursor(7)), holed, cursors)).toEqual({
      seq: 7,
      time: undefined,
      resumed: false,
      reset: 'gap',
    })
  })

  it.each([
    ['the head', 10, { headTime: undefined }],
    ['the edge', 3, { trimmedTime: undefined }],
  ])('and 0.1 did not note the time of %s: a cursor there is believed', (_, seq, unknown) => {
    expect(startFrom(parseResumePoint(cursor(seq)), { ...stream, ...unknown }, cursors)).toEqual({
      seq,
      time: undefined,
      resumed: true,
      reset: undefined,
    })
  })
})

describe('a stream without events', () => {
  const empty = { ...headOf(), askedTime: undefined }

  it('can be resumed at its beginning', () => {
    const start = { seq: 0, time: 0, resumed: true, reset: undefined }
    expect(startFrom(parseResumePoint(cursor(0)), empty, cursors)).toEqual(start)
  })

  it('is not the beginning of another user’s', () => {
    const theirs = new Cursors('bob').format('e1', { seq: 0, time: 0 })
    expect(startFrom(parseResumePoint(theirs), empty, cursors)).toMatchObject({ reset: 'epoch' })
  })
})

it('the beginning of a stream that has all its events is where nothing was logged before', () => {
  const whole = { ...headOf({ head: 3 }), askedTime: undefined }
  expect(startFrom(parseResumePoint('0'), whole, cursors)).toMatchObject({ seq: 0, time: 0 })
})

it('the read mark is at its event, and before the first where nothing is read', () => {
  expect(readOf({ read: 3, readTime: 5 })).toEqual({ seq: 3, time: 5 })
  expect(readOf({ read: 0, readTime: undefined })).toEqual({ seq: 0, time: 0 })
})
