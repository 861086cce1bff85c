import { expect, it } from 'vitest'
import { AnswerFilter } from './deaf-pooler.ts'

function message(type: string, body: string): Buffer {
  const bytes = Buffer.from(`${type}....${body}`)
  bytes.writeInt32BE(4 + Buffer.byteLength(body), 1)
  return bytes
}

const READY = message('Z', 'I')
const NOTIFICATION = message('A', '....glimpse_events\0a\t1\t{}\0')
const ROW = message('D', 'A row that begins as a notification does')

it.each([1, 2, 5, 7, 1000])('drops notifications, whole, out of pieces of %i bytes', (size) => {
  let swallowed = 0
  const filter = new AnswerFilter(() => swallowed++)
  const sent = Buffer.concat([READY, NOTIFICATION, NOTIFICATION, ROW, message('I', ''), NOTIFICATION, READY])
  const passed: Buffer[] = []
  for (let at = 0; at < sent.length; at += size) passed.push(...filter.pass(sent.subarray(at, at + size)))
  expect(Buffer.concat(passed)).toEqual(Buffer.concat([READY, ROW, message('I', ''), READY]))
  expect(swallowed).toBe(3)
})

it('lets the one byte pass that answers a request for encryption', () => {
  const filter = new AnswerFilter()
  const sslRequest = Buffer.alloc(8)
  sslRequest.writeInt32BE(8)
  sslRequest.writeInt32BE(80_877_103, 4)
  filter.ask(sslRequest)
  const refused = Buffer.from('N')
  // Taken for the beginning of a message it would hide where the next one begins.
  expect(Buffer.concat(filter.pass(Buffer.concat([refused, NOTIFICATION, READY])))).toEqual(
    Buffer.concat([refused, READY]),
  )
})
