import { expect, it } from 'vitest'
import { judge, type Sample } from './samples.ts'

const samples = (of: (i: number) => Partial<Sample>) =>
  Array.from({ length: 90 }, (_, i) => ({
    memoryMiB: 150,
    heapMiB: 60,
    descriptors: 40,
    timers: 20,
    backends: 20,
    ...of(i),
  }))
const growing = (list: Sample[]) =>
  judge(list)
    .filter(({ flat }) => !flat)
    .map(({ what }) => what)

it('what stays, comes and goes, or only warms up is flat', () => {
  expect(
    growing(samples((i) => ({ descriptors: 40 + (i % 20), memoryMiB: Math.min(150, 100 + i) }))),
  ).toEqual([])
  // Collected less often towards the end.
  expect(growing(samples((i) => ({ heapMiB: 30 + (i % (i < 60 ? 10 : 30)) * 2 })))).toEqual([])
})

it('what grows is found', () => {
  expect(growing(samples((i) => ({ timers: 20 + i, descriptors: 40 + i })))).toEqual([
    'descriptors',
    'timers',
  ])
  expect(growing(samples((i) => ({ memoryMiB: 150 + 2 * i, backends: 20 + i / 5 })))).toEqual([
    'memoryMiB',
    'backends',
  ])
  expect(growing(samples((i) => ({ heapMiB: 30 + i / 2 + (i % 10) * 2 })))).toEqual(['heapMiB'])
})
