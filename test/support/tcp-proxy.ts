import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/** What happens to bytes on their way; changes hold for open connections too. */
export interface Shape {
  /** Added to each chunk's way, ms. */
  readonly latencyMs: number
  /** Per connection and direction. */
  readonly bytesPerSecond: number
  /** Chunks are cut into pieces of so many bytes, each written by itself. */
  readonly sliceBytes: number
}

export type Direction = 'toServer' | 'toClient'

const CLEAR: Shape = { latencyMs: 0, bytesPerSecond: Infinity, sliceBytes: Infinity }

/** Bytes a direction holds back before it stops reading; the rest waits in the kernels, as on a real network. */
const MAX_HELD_BYTES = 65_536

/** A network that can be made to fail, between a client and the service or between the service and Postgres. */
export class TcpProxy {
  readonly port: number
  readonly #server: Server
  readonly #shapes: Record<Direction, Shape> = { toServer: CLEAR, toClient: CLEAR }
  readonly #gates: Record<Direction, Gate> = { toServer: new Gate(), toClient: new Gate() }
  readonly #pairs = new Set<Pair>()

  private constructor(server: Server, target: { readonly host: string; readonly port: number }) {
    this.#server = server
    this.port = (server.address() as AddressInfo).port
    server.on('connection', (client) => {
      const pair = new Pair(client, target, {
        shape: (direction) => this.#shapes[direction],
        gate: (direction) => this.#gates[direction],
      })
      this.#pairs.add(pair)
      void pair.closed.then(() => this.#pairs.delete(pair))
    })
  }

  static async start(target: { readonly host: string; readonly port: number }): Promise<TcpProxy> {
    const server = createServer({ allowHalfOpen: true, noDelay: true })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return new TcpProxy(server, target)
  }

  /** In front of the server of a URL. */
  static before(url: string): Promise<TcpProxy> {
    const { hostname, port } = new URL(url)
    return TcpProxy.start({ host: hostname, port: Number(port) })
  }

  /** The same URL by way of this proxy. */
  urlFor(url: string): string {
    return Object.assign(new URL(url), { host: `127.0.0.1:${this.port}` }).href
  }

  /** Open connections. */
  get connections(): number {
    return this.#pairs.size
  }

  /** Slows and slices, in one direction or both; what is left out passes untouched. */
  shape(shape: Partial<Shape>, direction?: Direction): void {
    for (const one of directions(direction)) this.#shapes[one] = { ...CLEAR, ...shape }
  }

  /** Nothing passes any more, open and new connections stay silent; nobody is told. */
  blackhole(direction?: Direction): void {
    for (const one of directions(direction)) this.#gates[one].shut()
  }

  /** Connections that are open now swallow what they are given, for ever; new ones work. As where NAT forgot its flows. */
  swallow(): void {
    for (const pair of this.#pairs) pair.swallow()
  }

  /** What was held back arrives after all, as on a network that has come back. */
  heal(): void {
    for (const one of directions()) this.#gates[one].open()
  }

  /** Resets every connection, on both sides (RFC 9293 §3.5.2). */
  resetAll(): void {
    for (const pair of this.#pairs) pair.reset()
  }

  /** Resets the connection that is open longest. */
  resetOne(): void {
    const [pair] = this.#pairs
    pair?.reset()
  }

  async close(): Promise<void> {
    const closed = once(this.#server, 'close')
    this.#server.close()
    this.resetAll()
    this.heal()
    await closed
  }
}

/** Shut, it lets nobody pass until it is opened. */
class Gate {
  #opened: Promise<void> | undefined
  #open = () => {}

  shut(): void {
    this.#opened ??= new Promise((resolve) => {
      this.#open = resolve
    })
  }

  open(): void {
    this.#opened = undefined
    this.#open()
  }

  async passed(): Promise<void> {
    while (this.#opened !== undefined) await this.#opened
  }
}

function directions(direction?: Direction): readonly Direction[] {
  return direction === undefined ? ['toServer', 'toClient'] : [direction]
}

interface Way {
  readonly shape: (direction: Direction) => Shape
  readonly gate: (direction: Direction) => Gate
  readonly swallows?: () => boolean
}

/** One connection through the proxy: two sockets and two streams of bytes. */
class Pair {
  readonly closed: Promise<unknown>
  readonly #client: Socket
  readonly #server: Socket
  #swallows = false

  constructor(client: Socket, target: { readonly host: string; readonly port: number }, way: Way) {
    this.#client = client
    this.#server = connect({ ...target, allowHalfOpen: true, noDelay: true })
    this.closed = Promise.all([closed(client), closed(this.#server)])
    for (const [from, to] of [
      [client, this.#server],
      [this.#server, client],
    ] as const) {
      from.on('error', () => {
        if (!this.#swallows) reset(to)
      })
      carry(from, to, from === client ? 'toServer' : 'toClient', { ...way, swallows: () => this.#swallows })
    }
  }

  swallow(): void {
    this.#swallows = true
  }

  reset(): void {
    reset(this.#client)
    reset(this.#server)
  }
}

/** Carries bytes one way, at the pace and in the pieces the shape asks for. */
function carry(from: Socket, to: Socket, direction: Direction, way: Way): void {
  const chunks: { bytes: Buffer | 'end'; dueAt: number }[] = []
  const gate = way.gate(direction)
  let heldBytes = 0
  let wake = () => {}
  const put = (bytes: Buffer | 'end') => {
    if (way.swallows?.()) return
    chunks.push({ bytes, dueAt: performance.now() + way.shape(direction).latencyMs })
    wake()
  }
  from.on('data', (bytes: Buffer) => {
    if (way.swallows?.()) return
    heldBytes += bytes.length
    if (heldBytes > MAX_HELD_BYTES) from.pause()
    put(bytes)
  })
  from.on('end', () => put('end'))
  to.on('close', () => wake())
  const pump = async () => {
    while (!to.destroyed) {
      const chunk = chunks.shift()
      if (chunk === undefined) {
        await new Promise<void>((resolve) => {
          wake = resolve
        })
        continue
      }
      const waitMs = chunk.dueAt - performance.now()
      if (waitMs > 0) await sleep(waitMs)
      if (chunk.bytes === 'end') {
        await gate.passed()
        to.end()
        return
      }
      await write(chunk.bytes, to, gate, () => way.shape(direction))
      heldBytes -= chunk.bytes.length
      if (heldBytes <= MAX_HELD_BYTES) from.resume()
    }
  }
  void pump()
}

async function write(bytes: Buffer, to: Socket, gate: Gate, shape: () => Shape): Promise<void> {
  for (let start = 0; start < bytes.length && !to.destroyed; ) {
    const { bytesPerSecond, sliceBytes } = shape()
    // A tenth of a second's worth at a time keeps a slow pace even.
    const length = Math.max(1, Math.min(sliceBytes, Math.ceil(bytesPerSecond / 10), bytes.length - start))
    const piece = bytes.subarray(start, start + length)
    start += length
    await gate.passed()
    if (bytesPerSecond < Infinity) await sleep((length / bytesPerSecond) * 1000)
    // Yielding lets each piece leave in a packet of its own.
    else if (sliceBytes < Infinity) await new Promise((resolve) => setImmediate(resolve))
    if (!to.destroyed && !to.write(piece)) await drained(to)
  }
}

/** libuv refuses to reset a socket that is shutting down, and Node would then never close it. */
function reset(socket: Socket): void {
  if (socket.writableEnded) socket.destroy()
  else socket.resetAndDestroy()
}

/** Unlike `once` of node:events, this does not reject where an error comes first. */
function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    socket.on('close', () => resolve())
  })
}

function drained(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      socket.off('drain', done)
      socket.off('close', done)
      resolve()
    }
    socket.on('drain', done)
    socket.on('close', done)
  })
}
