import { describe, expect, it } from 'vitest'
import { SCENARIOS } from '../scenarios/index.ts'
import { copyBuild, withEdit } from './build.ts'

describe('every planted bug', () => {
  it.each(
    SCENARIOS.map(({ name, planted }) => [planted.bug.name, name, planted.bug] as const),
  )('can still be planted: %s (%s)', async (_bug, _scenario, { edits }) => {
    await Promise.all(edits.map((edit) => withEdit(edit)))
  })
})

describe('a bug', () => {
  it.each([
    ['is gone from the code', 'no such text'],
    ['is not there once but often', 'const'],
  ])('whose place %s can’t be planted', async (_why, find) => {
    await expect(copyBuild([{ file: 'dist/service.js', find, put: '' }])).rejects.toThrow('exactly once')
  })
})
