import { describe, expect, it } from 'vitest'
import { parseResumePoint } from '../../src/event.ts'
import { startFrom } from '../../src/hub/resume.ts'

const stream = { epoch: 'e1', head: 10, oldest: 4, read: 0 }

describe('where a connection starts in a stream of 10 whose oldest event kept is 4', () => {
  it.each([
    ['nothing asked', undefined, { cursor: 10, resumed: false, reset: undefined }],
    ['an empty text', '', { cursor: 10, resumed: false, reset: undefined }],
    ['0', '0', { cursor: 3, resumed: false, reset: undefined }],
    ['the head', 'e1.10', { cursor: 10, resumed: true, reset: undefined }],
    ['one before the head', 'e1.9', { cursor: 9, resumed: true, reset: undefined }],
    ['just before the oldest', 'e1.3', { cursor: 3, resumed: true, reset: undefined }],
    ['one earlier', 'e1.2', { cursor: 3, resumed: false, reset: 'trimmed' }],
    ['the beginning', 'e1.0', { cursor: 3, resumed: false, reset: 'trimmed' }],
    ['one past the head', 'e1.11', { cursor: 10, resumed: false, reset: 'ahead' }],
    ['another epoch', 'e2.5', { cursor: 10, resumed: false, reset: 'epoch' }],
    ['garbage', 'garbage', { cursor: 10, resumed: false, reset: 'invalid' }],
    ['a seq that no number holds', 'e1.9999999999999999', { cursor: 10, resumed: false, reset: 'invalid' }],
    ['a seq with a leading zero', 'e1.05', { cursor: 10, resumed: false, reset: 'invalid' }],
    ['a negative seq', 'e1.-1', { cursor: 10, resumed: false, reset: 'invalid' }],
    ['a cursor with a line break', 'e1.5\n', { cursor: 10, resumed: false, reset: 'invalid' }],
  ])('%s', (_, text, start) => {
    expect(startFrom(parseResumePoint(text), stream)).toEqual(start)
  })

  it('a stream without events can be resumed at its beginning', () => {
    expect(startFrom(parseResumePoint('e1.0'), { epoch: 'e1', head: 0, oldest: 1, read: 0 })).toEqual({
      cursor: 0,
      resumed: true,
      reset: undefined,
    })
  })
})
