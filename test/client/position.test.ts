import { describe, expect, it } from 'vitest'
import { Position, split } from '../../src/client/position.ts'
import type { GlimpseEvent } from '../../src/event.ts'

const event = (id: string) => ({ id, seq: Number(id.split('.')[1]) }) as GlimpseEvent

describe('an event', () => {
  it.each([undefined, '0'])('is the next one whatever its number where the cursor is %s', (cursor) => {
    expect(new Position(cursor).judge(event('e1.7.x'))).toBe('next')
  })

  it.each([
    ['the next one', 'e1.5.x', 'next'],
    ['seen already where it has the number of the cursor', 'e1.4.x', 'seen'],
    ['seen already where its number is lower', 'e1.1.x', 'seen'],
    ['after a gap where a number is missing', 'e1.6.x', { expected: 5, received: 6, lost: false }],
    ['after a gap where it is of another history', 'e2.5.x', { expected: 5, received: 5, lost: false }],
    [
      'after a gap where it is of another history and its number is lower',
      'e2.1.x',
      { expected: 5, received: 1, lost: false },
    ],
  ])('after the number 4 is %s', (_, id, verdict) => {
    expect(new Position('e1.4.x').judge(event(id))).toEqual(verdict)
  })
})

describe('a missing event', () => {
  it('is lost where it is missing the fourth time', () => {
    const position = new Position('e1.4.x')
    const lost = [6, 7, 6, 6].map((seq) => position.judge(event(`e1.${seq}.x`)))
    expect(lost).toMatchObject([{ lost: false }, { lost: false }, { lost: false }, { lost: true }])
  })

  it('is counted by itself, not with those that were missing elsewhere', () => {
    const position = new Position('e1.4.x')
    for (const seq of [6, 6, 6]) position.judge(event(`e1.${seq}.x`))
    position.cursor = 'e1.9.x'
    expect(position.judge(event('e1.12.x'))).toEqual({ expected: 10, received: 12, lost: false })
    position.cursor = 'e1.4.x'
    expect(position.judge(event('e1.6.x'))).toMatchObject({ lost: false })
  })
})

it('a cursor has a history and a number, with or without what the service appends', () => {
  expect([split('e1.7.x'), split('e1.7'), split('')]).toEqual([
    ['e1', 7],
    ['e1', 7],
    ['', Number.NaN],
  ])
})
