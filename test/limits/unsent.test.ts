import { expect, it, vi } from 'vitest'
import { UnsentAnswers } from '../../src/limits/unsent.ts'

const answer = (bytes: number, user: string | undefined, network = '192.0.2.1') => ({
  bytes,
  user,
  network,
  drop: vi.fn(),
})

it('what a user or an address has not taken is counted until it is released', () => {
  const unsent = new UnsentAnswers({ total: 1000, perUser: 100, perAddress: 150 })
  const first = answer(80, 'alice')
  unsent.hold(first)
  expect(unsent.exceeded(20, '192.0.2.1', 'alice')).toBeUndefined()
  expect(unsent.exceeded(21, '192.0.2.1', 'alice')).toBe('user')
  expect(unsent.exceeded(71, '192.0.2.1', undefined)).toBe('address')
  expect(unsent.exceeded(100, '198.51.100.1', 'bob')).toBeUndefined()
  // A request without a user has no user's share to exceed.
  expect(unsent.exceeded(120, '198.51.100.1', undefined)).toBeUndefined()
  unsent.release(first)
  unsent.release(first)
  expect(unsent.exceeded(100, '192.0.2.1', 'alice')).toBeUndefined()
  expect(unsent.bytes).toBe(0)
})

it('past the total the oldest answers are dropped, and not more of them than need be', () => {
  const unsent = new UnsentAnswers({ total: 100, perUser: 100, perAddress: 100 })
  const answers = ['a', 'b', 'c'].map((user) => answer(40, user))
  for (const each of answers) unsent.hold(each)
  expect(answers.map(({ drop }) => drop.mock.calls.length)).toEqual([1, 0, 0])
  expect(unsent.bytes).toBe(80)
  // Exactly the total is kept.
  unsent.hold(answer(20, undefined))
  expect(answers.map(({ drop }) => drop.mock.calls.length)).toEqual([1, 0, 0])
  expect(unsent.bytes).toBe(100)
})
