import { createRequire } from 'node:module'
import { describe, expect, it } from 'vitest'
import { fullyQualified } from '../../src/http/emoji.ts'

/** Every emoji without skin tones, fully qualified, from Unicode's emoji-test.txt. */
const KNOWN: Readonly<Record<string, { skin_tone_support: boolean; unicode_version: string }>> =
  createRequire(import.meta.url)('unicode-emoji-json/data-by-emoji.json')
const UNICODE = Number(process.versions.unicode)
const emojis = Object.entries(KNOWN).filter(([, { unicode_version }]) => Number(unicode_version) <= UNICODE)

/** The text with each of its selectors there or not. */
function spellings(emoji: string): string[] {
  const [first = '', ...rest] = emoji.split('\ufe0f')
  return rest.reduce((made, part) => made.flatMap((text) => [text + part, `${text}\ufe0f${part}`]), [first])
}

describe('an emoji', () => {
  it('of emoji-test.txt is known with and without any of its selectors', () => {
    expect(emojis.length).toBeGreaterThan(1800)
    for (const [emoji] of emojis)
      expect(spellings(emoji).map(fullyQualified)).toEqual(spellings(emoji).map(() => emoji))
  })

  it('of emoji-test.txt is known with a selector that it does not need', () => {
    for (const [emoji] of emojis)
      if (!emoji.endsWith('\ufe0f')) expect(fullyQualified(`${emoji}\ufe0f`)).toBe(emoji)
  })

  it('with a skin tone has no selector before it', () => {
    const alone = emojis.filter(
      ([emoji, { skin_tone_support }]) => skin_tone_support && !emoji.includes('\u200d'),
    )
    expect(alone.length).toBeGreaterThan(100)
    for (const [emoji] of alone)
      for (const tone of ['🏻', '🏿']) {
        const toned = emoji.replace('\ufe0f', '') + tone
        expect(fullyQualified(toned)).toBe(toned)
      }
  })

  it.each([
    ['👍\ufe0f', '👍'],
    ['👎\ufe0f', '👎'],
    ['✋\ufe0f', '✋'],
    ['☝\ufe0f', '☝\ufe0f'],
    ['✌🏽', '✌🏽'],
    ['❤', '❤\ufe0f'],
    ['☺', '☺\ufe0f'],
    ['☠', '☠\ufe0f'],
    ['1\u20e3', '1\ufe0f\u20e3'],
    ['🏳\u200d🌈', '🏳\ufe0f\u200d🌈'],
    ['🕵\ufe0f\u200d♂\ufe0f', '🕵\ufe0f\u200d♂\ufe0f'],
    ['🕵\u200d♂', '🕵\ufe0f\u200d♂\ufe0f'],
  ])('%j becomes %j', (sent, stored) => {
    expect(fullyQualified(sent)).toBe(stored)
  })

  it.each([
    'a',
    '12',
    '1',
    '❤❤',
    '\ufe0f',
    '\u200d',
    '',
    '❤\ufe0f\ufe0f',
    '\ufe0f❤',
    '❤\ufe0e',
    '👨\u200d\ufe0f👩',
  ])('%j is none', (text) => {
    expect(fullyQualified(text)).toBeUndefined()
  })
})
