import { randomBytes } from 'node:crypto'

/** Opcodes of RFC 6455 §5.2. */
export const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const

export interface FrameOptions {
  readonly fin?: boolean
  /** The three reserved bits as a number from 0 to 7. */
  readonly rsv?: number
  /** False breaks RFC 6455 §5.1, which a server must not take from a client. */
  readonly masked?: boolean
  /** How many bytes the length takes, 1, 3 or 9; the fewest that do unless said otherwise. */
  readonly lengthBytes?: 1 | 3 | 9
  /** The length that the header claims; the payload's own unless said otherwise. */
  readonly claimedLength?: bigint
}

/** A frame as a client sends it, right or wrong. */
export function frame(opcode: number, payload: Buffer | string = '', options: FrameOptions = {}): Buffer {
  const { fin = true, rsv = 0, masked = true } = options
  const data = Buffer.from(payload)
  const length = options.claimedLength ?? BigInt(data.length)
  const lengthBytes = options.lengthBytes ?? (length < 126n ? 1 : length < 65_536n ? 3 : 9)
  const header = Buffer.alloc(1 + lengthBytes)
  header[0] = (fin ? 0x80 : 0) | (rsv << 4) | opcode
  const mask = masked ? 0x80 : 0
  if (lengthBytes === 1) {
    header[1] = mask | Number(length)
  } else if (lengthBytes === 3) {
    header[1] = mask | 126
    header.writeUInt16BE(Number(length), 2)
  } else {
    header[1] = mask | 127
    header.writeBigUInt64BE(length, 2)
  }
  if (!masked) return Buffer.concat([header, data])
  const key = randomBytes(4)
  return Buffer.concat([header, key, data.map((byte, i) => byte ^ (key[i % 4] ?? 0))])
}

/** The payload of a close frame (RFC 6455 §5.5.1). */
export function closePayload(code: number, reason: Buffer | string = ''): Buffer {
  const bytes = Buffer.alloc(2)
  bytes.writeUInt16BE(code)
  return Buffer.concat([bytes, Buffer.from(reason)])
}

/** A message in pieces of `size` bytes, each a frame; only the last has FIN. */
export function fragments(opcode: number, payload: Buffer | string, size: number): Buffer[] {
  const data = Buffer.from(payload)
  const count = Math.max(1, Math.ceil(data.length / size))
  return Array.from({ length: count }, (_, i) =>
    frame(i === 0 ? opcode : OPCODE.continuation, data.subarray(i * size, (i + 1) * size), {
      fin: i === count - 1,
    }),
  )
}

export interface ServerFrame {
  readonly fin: boolean
  readonly rsv: number
  readonly opcode: number
  readonly payload: Buffer
}

/** Takes whole frames off the front of what a server sent; throws where one is masked (RFC 6455 §5.1). */
export function takeFrames(bytes: Buffer): { frames: ServerFrame[]; rest: Buffer } {
  const frames: ServerFrame[] = []
  let rest = bytes
  for (;;) {
    if (rest.length < 2) return { frames, rest }
    const [first, second] = [rest.readUInt8(0), rest.readUInt8(1)]
    if ((second & 0x80) !== 0) throw new Error('the server sent a masked frame')
    const start = second < 126 ? 2 : second === 126 ? 4 : 10
    if (rest.length < start) return { frames, rest }
    const length =
      second < 126 ? second : second === 126 ? rest.readUInt16BE(2) : Number(rest.readBigUInt64BE(2))
    if (rest.length < start + length) return { frames, rest }
    frames.push({
      fin: (first & 0x80) !== 0,
      rsv: (first >> 4) & 7,
      opcode: first & 15,
      payload: rest.subarray(start, start + length),
    })
    rest = rest.subarray(start + length)
  }
}
