import { ALIVE, type Case, chopped, numbered, PROTOCOL_ERROR } from '../case.ts'
import { frame, OPCODE } from '../frame.ts'

const { ping, pong } = OPCODE
const TEN = Array.from({ length: 10 }, (_, i) => `payload-${i}`)
const NOT_TEXT = Buffer.from('00fffefdfcfb00ff', 'hex')
const FULL = Buffer.alloc(125, 0xfe)

/** RFC 6455 §5.5.2, §5.5.3: a pong for every ping, with its very payload; nothing for a pong. */
export const PINGS: readonly Case[] = numbered('2', [
  ['a ping', [frame(ping)], { alive: true, pongs: [''] }],
  ['a ping with a text', [frame(ping, 'Hello, world!')], { alive: true, pongs: ['Hello, world!'] }],
  ['a ping with bytes that are no text', [frame(ping, NOT_TEXT)], { alive: true, pongs: [NOT_TEXT] }],
  ['a ping of 125 bytes', [frame(ping, FULL)], { alive: true, pongs: [FULL] }],
  ['a ping of 126 bytes', [frame(ping, Buffer.alloc(126, 0xfe))], PROTOCOL_ERROR],
  ['a ping of 125 bytes, byte by byte', [chopped(frame(ping, FULL))], { alive: true, pongs: [FULL] }],
  ['a pong that nobody asked for', [frame(pong)], ALIVE],
  ['a pong that nobody asked for, with a payload', [frame(pong, 'unsolicited')], ALIVE],
  [
    'such a pong, then a ping',
    [frame(pong, 'unsolicited'), frame(ping, 'ping')],
    { alive: true, pongs: ['ping'] },
  ],
  ['ten pings', TEN.map((text) => frame(ping, text)), { alive: true, pongs: TEN }],
  ['ten pings, byte by byte', TEN.map((text) => chopped(frame(ping, text))), { alive: true, pongs: TEN }],
  [
    'ten pings in one packet',
    [Buffer.concat(TEN.map((text) => frame(ping, text)))],
    { alive: true, pongs: TEN },
  ],
  ['a pong of 126 bytes', [frame(pong, Buffer.alloc(126))], PROTOCOL_ERROR],
])
