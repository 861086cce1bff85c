import { expect, it, vi } from 'vitest'
import { LogDestination } from '../../src/observability/log-destination.ts'

/** A file that takes so many bytes more, and then says why it takes none. */
class Sink {
  text = ''
  room = Number.POSITIVE_INFINITY
  code = 'ENOSPC'

  readonly write = (bytes: Buffer): number => {
    if (this.room === 0) throw Object.assign(new Error(this.code), { code: this.code })
    const taken = Math.min(bytes.length, this.room)
    this.text += bytes.toString('utf8', 0, taken)
    this.room -= taken
    return taken
  }
}

function scene() {
  const sink = new Sink()
  const destination = new LogDestination(sink.write)
  const lost: number[] = []
  destination.onRecovered = (count) => {
    lost.push(count)
  }
  return { sink, destination, lost }
}

it.each([
  'ENOSPC',
  'EPIPE',
  'EIO',
])('%s costs the lines that cannot be written, and says how many', (code) => {
  const { sink, destination, lost } = scene()
  sink.code = code
  destination.write('one\n')
  sink.room = 0
  destination.write('two\n')
  destination.write('three\n')
  sink.room = Number.POSITIVE_INFINITY
  destination.write('four\n')
  expect(sink.text).toBe('one\nfour\n')
  expect(lost).toEqual([2])
})

it('a line that a full disk cut off is not glued to the next', () => {
  const { sink, destination, lost } = scene()
  sink.room = 2
  destination.write('one\n')
  sink.room = Number.POSITIVE_INFINITY
  destination.write('two\n')
  expect(sink.text).toBe('on\ntwo\n')
  expect(lost).toEqual([1])
})

it('a reader that is slow gets every line, in order and whole, once it reads', async () => {
  vi.useFakeTimers()
  const { sink, destination, lost } = scene()
  sink.code = 'EAGAIN'
  sink.room = 6
  for (const line of ['one\n', 'two\n', 'three\n']) destination.write(line)
  expect(sink.text).toBe('one\ntw')
  sink.room = 3
  vi.advanceTimersByTime(60)
  expect(sink.text).toBe('one\ntwo\nt')
  sink.room = Number.POSITIVE_INFINITY
  destination.write('four\n')
  expect(sink.text).toBe('one\ntwo\nthree\nfour\n')
  expect(lost).toEqual([])
  vi.useRealTimers()
})

it('a reader that stopped costs bounded memory', () => {
  const { sink, destination, lost } = scene()
  sink.code = 'EAGAIN'
  sink.room = 0
  const line = `${'x'.repeat(1023)}\n`
  for (let i = 0; i < 3000; i++) destination.write(line)
  sink.room = Number.POSITIVE_INFINITY
  destination.flush()
  expect(sink.text.length).toBe(1_048_576)
  expect(lost).toEqual([3000 - 1024])
})
