import { describe, expect, it } from 'vitest'
import { websocketCodec } from '../../src/transport/websocket.ts'

/** Events whose JSON is of these lengths in bytes, as frames. */
function framesOf(...lengths: readonly number[]): Buffer {
  const bodies = lengths.map((length) => {
    const around = '{"id":"e.1","pad":""}'.length
    return `{"pad":"${'x'.repeat(length - around)}"}`
  })
  const ids = bodies.map(() => 'e.1')
  return Buffer.from(websocketCodec.encode(ids, bodies), 'latin1')
}

describe('events as WebSocket frames (RFC 6455 §5.2)', () => {
  it.each([
    [125, [0x81, 125]],
    [126, [0x81, 126, 0, 126]],
    [255, [0x81, 126, 0, 255]],
    [256, [0x81, 126, 1, 0]],
    [65_535, [0x81, 126, 255, 255]],
    [65_536, [0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]],
    [16_909_060, [0x81, 127, 0, 0, 0, 0, 1, 2, 3, 4]],
  ])('are unmasked texts, one frame each: %i bytes', (length, header) => {
    const frames = framesOf(length)
    expect([...frames.subarray(0, header.length)]).toEqual(header)
    expect(frames.length).toBe(header.length + length)
    expect(frames.toString('utf8', header.length, header.length + 21)).toMatch(/^\{"id":"e\.1","pad":"x/)
  })

  it('follow one another', () => {
    const frames = framesOf(30, 40)
    expect([frames[0], frames[1], frames[32], frames[33], frames.length]).toEqual([0x81, 30, 0x81, 40, 74])
  })

  it('count the bytes of UTF-8, not the characters', () => {
    const frames = Buffer.from(websocketCodec.encode(['e.1'], ['{"pad":"🦊é"}']), 'latin1')
    expect(frames[1]).toBe(frames.length - 2)
    expect(frames.toString('utf8', 2)).toBe('{"id":"e.1","pad":"🦊é"}')
  })
})
