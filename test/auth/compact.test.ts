import { expect, it } from 'vitest'
import { isCompactJws } from '../../src/auth/compact.ts'

const encode = (length: number) => Buffer.alloc(length, 0xff).toString('base64url')

it('takes three parts of any bytes as every encoder writes them', () => {
  for (let length = 0; length < 9; length += 1)
    for (let byte = 0; byte < 256; byte += 1) {
      const part = Buffer.alloc(length, byte).toString('base64url')
      expect(isCompactJws(`${part}.${encode(length)}.${part}`)).toBe(true)
    }
})

it.each([
  ['two parts', 'AAAA.AAAA'],
  ['four parts', 'AAAA.AAAA.AAAA.'],
  ['a blank', 'AAAA.AAAA. AAAA'],
  ['a line end', 'AAAA.AAAA.AAAA\n'],
  ['padding', 'AAAA.AAAA.AA=='],
  ['base64', 'AAAA.AAAA.AA+/'],
  ['a fifth character', 'AAAA.AAAA.AAAAA'],
  ['stray bits after one byte', 'AB.AAAA.AAAA'],
  ['stray bits after two bytes', 'AAAA.AAB.AAAA'],
])('refuses %s', (_, text) => {
  expect(isCompactJws(text)).toBe(false)
})

it('is as quick with 8 KiB that fail at the end', () => {
  const before = performance.now()
  for (let i = 0; i < 100; i += 1) isCompactJws(`${'A'.repeat(8190)}!`)
  expect(performance.now() - before).toBeLessThan(500)
})
