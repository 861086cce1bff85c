import { createHash, randomBytes } from 'node:crypto'
import { connect, type Socket } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import { OPCODE, type ServerFrame, takeFrames } from './frame.ts'

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
const PATIENCE_MS = 10_000

/** A WebSocket client that sends exactly the bytes it is given, over a plain socket and the service's own upgrade. */
export class Peer {
  readonly frames: ServerFrame[] = []
  readonly #socket: Socket
  #bytes: Buffer<ArrayBufferLike> = Buffer.alloc(0)
  /** Whether the answer to the upgrade was read: frames follow. */
  #open = false
  #ended = false
  #fault: Error | undefined
  #wake = () => {}

  static async open(url: string, token: string): Promise<Peer> {
    const { hostname, port, host } = new URL(url)
    const socket = connect(Number(port), hostname).setNoDelay()
    const peer = new Peer(socket)
    const key = randomBytes(16).toString('base64')
    socket.write(
      `GET /ws HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
        `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\nAuthorization: Bearer ${token}\r\n\r\n`,
    )
    const head = await peer.#head()
    const accept = createHash('sha1').update(`${key}${GUID}`).digest('base64')
    if (!head.startsWith('HTTP/1.1 101 ') || !head.includes(`Sec-WebSocket-Accept: ${accept}`))
      throw new Error(`no upgrade: ${head}`)
    peer.#parse()
    return peer
  }

  private constructor(socket: Socket) {
    this.#socket = socket
    const end = () => {
      this.#ended = true
      this.#wake()
    }
    socket.on('data', (chunk: Buffer) => {
      this.#bytes = Buffer.concat([this.#bytes, chunk])
      this.#parse()
      this.#wake()
    })
    // After an error of the protocol the server may reset what it does not want to read.
    socket.on('end', end).on('error', end).on('close', end)
  }

  /** Sends bytes, all at once or in chops of so many, each in a turn of its own. */
  async send(bytes: Buffer, chop = bytes.length): Promise<void> {
    for (let at = 0; at < bytes.length && this.#socket.writable; at += chop) {
      this.#socket.write(bytes.subarray(at, at + chop))
      if (chop < bytes.length) await turn()
    }
  }

  /** The first frame that fits, waited for; undefined where the server ended the connection without one. */
  async find(fits: (frame: ServerFrame) => boolean): Promise<ServerFrame | undefined> {
    await this.#until(() => this.#ended || this.frames.some(fits), 'a frame')
    return this.frames.find(fits)
  }

  /** The server's close frame, and then the end of the connection. */
  async closed(): Promise<{ code: number | undefined; reason: string }> {
    await this.#until(() => this.#ended, 'the end of the connection')
    const frame = this.frames.find(({ opcode }) => opcode === OPCODE.close)
    if (frame === undefined) return { code: undefined, reason: 'no close frame' }
    if (frame.payload.length < 2) return { code: 1005, reason: '' }
    return { code: frame.payload.readUInt16BE(0), reason: frame.payload.toString('utf8', 2) }
  }

  destroy(): void {
    this.#socket.destroy()
  }

  async #head(): Promise<string> {
    await this.#until(() => this.#ended || this.#bytes.includes('\r\n\r\n'), 'an answer to the upgrade')
    const end = this.#bytes.indexOf('\r\n\r\n')
    const head = this.#bytes.toString('latin1', 0, end)
    this.#bytes = this.#bytes.subarray(end + 4)
    this.#open = true
    return head
  }

  #parse(): void {
    if (!this.#open) return
    try {
      const { frames, rest } = takeFrames(this.#bytes)
      this.frames.push(...frames)
      this.#bytes = rest
    } catch (error) {
      this.#fault = error as Error
    }
  }

  async #until(holds: () => boolean, awaited: string): Promise<void> {
    const deadline = Date.now() + PATIENCE_MS
    while (!holds()) {
      if (this.#fault !== undefined) throw this.#fault
      await new Promise<void>((resolve, reject) => {
        const timer = setTimeout(
          () => reject(new Error(`${awaited} did not come in time`)),
          deadline - Date.now(),
        )
        this.#wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
  }
}
