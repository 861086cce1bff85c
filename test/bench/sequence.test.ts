import { describe, expect, it } from 'vitest'
import { eventText, readStamps, Sequence, stampedViewer } from '../../bench/load/events.ts'

const frames = (...seqs: number[]) =>
  Buffer.from(seqs.map((seq) => `id: e.${seq}\ndata: ${eventText(seq, 'bob')}\n\n`).join(''))

describe('Sequence', () => {
  it('counts every event of a read', () => {
    const sequence = new Sequence()
    expect(sequence.push(frames(1, 2, 3))).toBe(3)
    expect(sequence.push(frames(4))).toBe(1)
    expect([sequence.count, sequence.faults]).toEqual([4, 0])
  })

  it('begins with whatever number comes first', () => {
    const sequence = new Sequence()
    sequence.push(frames(41, 42))
    expect([sequence.count, sequence.faults]).toEqual([2, 0])
  })

  it.each([
    ['lost', [1, 2, 4, 5], 1],
    ['doubled', [1, 2, 2, 3], 1],
    ['swapped', [1, 3, 2, 4], 3],
  ])('notices a %s event', (_what, seqs, faults) => {
    const sequence = new Sequence()
    sequence.push(frames(...seqs))
    expect(sequence.faults).toBe(faults)
  })

  it('counts the same wherever reads cut the bytes, and however small they are', () => {
    const bytes = frames(98, 99, 100, 101)
    for (let cut = 0; cut <= bytes.length; cut += 1) {
      const sequence = new Sequence()
      sequence.push(bytes.subarray(0, cut))
      sequence.push(bytes.subarray(cut))
      expect([cut, sequence.count, sequence.faults]).toEqual([cut, 4, 0])
    }
    const byteWise = new Sequence()
    for (const byte of bytes) byteWise.push(Buffer.from([byte]))
    expect([byteWise.count, byteWise.faults]).toEqual([4, 0])
  })

  it('keeps nothing of a buffer that its caller uses again', () => {
    const bytes = frames(7, 8)
    const shared = Buffer.from(bytes)
    const sequence = new Sequence()
    const cut = bytes.indexOf('"seq":8') + 4
    sequence.push(shared.subarray(0, cut))
    shared.fill(0x78)
    sequence.push(bytes.subarray(cut))
    expect([sequence.count, sequence.faults]).toEqual([2, 0])
  })

  it('takes no control message for an event', () => {
    const sequence = new Sequence()
    const open = 'event: stream.open\ndata: {"type":"stream.open","data":{}}\n\n'
    expect(sequence.push(Buffer.from(open))).toBe(0)
  })
})

describe('readStamps', () => {
  it('finds when each event was sent', () => {
    const sent: number[] = []
    const viewers = [stampedViewer(1), stampedViewer('x')]
    const texts = viewers.map((viewer, i) => eventText(i, viewer))
    readStamps(Buffer.from(texts.join('\n')), (ms) => sent.push(ms))
    expect(sent.map((ms) => `@${Math.round(ms * 1000)}`)).toEqual(viewers.map((one) => one.split('_')[0]))
  })

  it('passes over viewers without one, and one that is cut', () => {
    const sent: number[] = []
    const text = eventText(1, '@123456_1')
    const cut = text.slice(0, text.indexOf('3456_'))
    readStamps(Buffer.from(eventText(1, 'bob') + cut), (ms) => sent.push(ms))
    expect(sent).toEqual([])
    readStamps(Buffer.from(text), (ms) => sent.push(ms))
    expect(sent).toEqual([123.456])
  })
})
