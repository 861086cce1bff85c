import { expect, it } from 'vitest'
import { Turns } from '../../src/limits/turns.ts'

it('works of one key go on so many at a time, in order; other keys do not wait for them', async () => {
  const turns = new Turns(2)
  const log: string[] = []
  const ends: (() => void)[] = []
  const work = (key: string, name: string) =>
    turns.pass(key, () => {
      log.push(name)
      return new Promise<void>((resolve) => ends.push(resolve))
    })
  const all = [work('a', 'a1'), work('a', 'a2'), work('a', 'a3'), work('a', 'a4'), work('b', 'b1')]
  expect(log).toEqual(['a1', 'a2', 'b1'])
  ends[0]?.()
  await all[0]
  await Promise.resolve()
  expect(log).toEqual(['a1', 'a2', 'b1', 'a3'])
  for (const end of ends) end()
  await expect.poll(() => log).toEqual(['a1', 'a2', 'b1', 'a3', 'a4'])
  for (const end of ends) end()
  await Promise.all(all)
})

it('works that end leave the others their turns, and no more than these', async () => {
  const turns = new Turns(2)
  const ends: (() => void)[] = []
  const work = () => turns.pass('a', () => new Promise<void>((resolve) => ends.push(resolve)))
  const first = work()
  const all = [first, work()]
  ends[0]?.()
  await first
  // One still goes on: of two more, one waits.
  all.push(work(), work())
  expect(ends).toHaveLength(3)
  ends[1]?.()
  await expect.poll(() => ends.length).toBe(4)
  for (const end of ends) end()
  await Promise.all(all)
  // None goes on: two begin at once again.
  const again = [work(), work(), work()]
  expect(ends).toHaveLength(6)
  for (const end of ends) end()
  await expect.poll(() => ends.length).toBe(7)
  for (const end of ends) end()
  await Promise.all(again)
})

it('a work that fails hands its turn on', async () => {
  const turns = new Turns(1)
  const failed = turns.pass('a', () => Promise.reject(new Error('no')))
  const next = turns.pass('a', async () => 'done')
  await expect(failed).rejects.toThrow('no')
  expect(await next).toBe('done')
})
