import { expect, it } from 'vitest'
import { Unread } from '../../src/client/unread.ts'

function opened(read: string, unread: number, oldest = 1): Unread {
  const count = new Unread()
  count.opened(read, unread, oldest)
  return count
}

it('nothing is unread before the first connection', () => {
  expect(new Unread().count).toBe(0)
})

it('what is unread is what the service says, and every event that comes then', () => {
  const unread = opened('e1.4', 3)
  expect(unread.count).toBe(3)
  for (const seq of [6, 7, 8]) unread.saw(seq)
  expect(unread.count).toBe(4)
})

it('a mark takes away what was read, but not the events that came while it was on its way', () => {
  const unread = opened('e1.4', 3)
  unread.saw(8)
  unread.marked('e1.6', 1)
  expect(unread.count).toBe(2)
  unread.marked('e1.8', 0)
  expect(unread.count).toBe(0)
})

it('a mark of another history begins to count anew', () => {
  const unread = opened('e1.4', 30)
  unread.marked('e2.1', 2)
  expect(unread.count).toBe(2)
})

it('another connection begins to count anew, also with less', () => {
  const unread = opened('e1.4', 30)
  unread.opened('e1.4', 2, 1)
  expect(unread.count).toBe(2)
})

it('events that are no longer kept are not unread, though the mark is before them', () => {
  const unread = opened('e1.0', 3, 5)
  unread.saw(8)
  expect(unread.count).toBe(4)
  unread.kept(8)
  unread.marked('e1.0', 1)
  expect(unread.count).toBe(1)
})
