import { expect, it } from 'vitest'
import { NotificationReader } from '../../src/postgres/notification-reader.ts'

function message(type: string, body: string): Buffer {
  const bytes = Buffer.from(`${type}....${body}`)
  bytes.writeInt32BE(4 + Buffer.byteLength(body), 1)
  return bytes
}

const notification = (payload: string) => message('A', `\0\0\x01\x02glimpse_events\0${payload}\0`)

const READY = message('Z', 'I')
const ROW = message('D', 'A row that begins as a notification does')
const EMPTY_QUERY = message('I', '')
const PAYLOADS = ['a\t1\t{}', '', 'Zoë ❤️\t2\t{}', 'x'.repeat(7999)]
const SENT = Buffer.concat([
  READY,
  ...PAYLOADS.slice(0, 2).map(notification),
  ROW,
  EMPTY_QUERY,
  ...PAYLOADS.slice(2).map(notification),
  READY,
])

it.each([
  1, 2, 5, 7, 1000, 65_536,
])('takes notifications out of pieces of %i bytes, and hands on the rest', (size) => {
  const payloads: string[] = []
  const others: Buffer[] = []
  const reader = new NotificationReader(
    (payload) => payloads.push(payload),
    (other) => others.push(other),
  )
  const memory = Buffer.alloc(size)
  for (let at = 0; at < SENT.length; at += size) {
    const length = SENT.copy(memory, 0, at, at + size)
    reader.read(memory.subarray(0, length))
    // Nothing that was read may still lie in memory that the next bytes come into.
    memory.fill(0xff)
  }
  expect(payloads).toEqual(PAYLOADS)
  expect(others).toEqual([READY, ROW, EMPTY_QUERY, READY])
})
