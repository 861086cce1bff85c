import { createParser } from 'eventsource-parser'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { SseParser } from '../../src/client/sse-parser.ts'

function parse(pieces: readonly string[]): string[] {
  const parser = new SseParser()
  return pieces.flatMap((piece) => parser.push(piece))
}

describe('an event stream', () => {
  it.each([
    ['data: a\n\ndata:b\n\n', ['a', 'b']],
    ['data: a\r\n\r\ndata: b\r\rdata: c\n\n', ['a', 'b', 'c']],
    [':\n\nretry: 2000\n\nid: e.1\nevent: x\ndata: a\n\n', ['a']],
    ['data: a\ndata: b\n\n', ['a\nb']],
    ['data:  a\n\n', [' a']],
    ['data\n\ndatabase: 1\n\n', []],
    ['data: unfinished\n', []],
  ])('%j has the data %j', (text, expected) => {
    expect(parse([text])).toEqual(expected)
    expect(parse([...text])).toEqual(expected)
  })

  it('is parsed as by another parser, however it is cut', () => {
    const part = fc.constantFrom(
      'data: ',
      'data:',
      'id: 1',
      'event: x',
      ':',
      '{"a":1}',
      'é❤️',
      '\n',
      '\r\n',
      '\n\n',
      ' ',
    )
    fc.assert(
      fc.property(
        fc.array(part, { maxLength: 40 }),
        fc.array(fc.nat(200), { maxLength: 8 }),
        (parts, cuts) => {
          const text = `${parts.join('')}\n\n`
          const expected: string[] = []
          createParser({ onEvent: ({ data }) => expected.push(data) }).feed(text)
          const places = [
            0,
            ...cuts.map((cut) => Math.min(cut, text.length)).sort((a, b) => a - b),
            text.length,
          ]
          const pieces = places.slice(1).map((place, i) => text.slice(places[i], place))
          expect(parse(pieces)).toEqual(expected)
        },
      ),
      { numRuns: 2000 },
    )
  })

  it('with a line that never ends is closed', () => {
    const parser = new SseParser()
    expect(() => {
      for (let i = 0; i < 20; i++) parser.push('x'.repeat(100_000))
    }).toThrow('without an end')
  })
})
