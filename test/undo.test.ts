import { expect, it } from 'vitest'
import { UndoStack } from '../src/undo.ts'

it('undoes all steps in reverse, though one throws, one rejects and one hangs', async () => {
  const failed: string[] = []
  const done: string[] = []
  const stack = new UndoStack((what) => failed.push(what))
  const step = (what: string, undo: () => unknown) =>
    stack.push(what, () => {
      done.push(what)
      return undo()
    })
  step('first', () => {})
  step('rejects', () => Promise.reject(new Error('no')))
  step('hangs', () => new Promise(() => {}))
  step('throws', () => {
    throw new Error('no')
  })
  step('last', async () => {})
  await stack.undo(100)
  expect(done).toEqual(['last', 'throws', 'hangs', 'rejects', 'first'])
  expect(failed).toEqual(['throws', 'hangs', 'rejects'])
  await stack.undo(100)
  expect(done).toHaveLength(5)
})

it('keeps its time however many hang', async () => {
  const stack = new UndoStack(() => {})
  for (let i = 0; i < 10; i++) stack.push('hangs', () => new Promise(() => {}))
  const began = performance.now()
  await stack.undo(200)
  expect(performance.now() - began).toBeLessThan(1000)
})
