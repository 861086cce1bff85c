import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it, onTestFinished } from 'vitest'
import { TcpProxy } from './tcp-proxy.ts'

/** A proxy before a server that hands out its connections; all is closed with the test. */
async function setUp() {
  const sockets = new Set<Socket>()
  const accepted: Socket[] = []
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket.on('error', () => {}))
    accepted.push(socket)
    server.emit('accepted')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const proxy = await TcpProxy.start({ host: '127.0.0.1', port: (server.address() as AddressInfo).port })
  onTestFinished(async () => {
    await proxy.close()
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return {
    proxy,
    /** A connection, from both ends. */
    async join() {
      const client = connect({ port: proxy.port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true })
      sockets.add(client.on('error', () => {}))
      if (accepted.length === 0) await once(server, 'accepted')
      const peer = accepted.shift()
      if (peer === undefined) throw new Error('nobody came')
      return { client, peer }
    },
  }
}

/** What has come so far, chunk by chunk. */
function collect(socket: Socket): string[] {
  const chunks: string[] = []
  socket.on('data', (chunk) => chunks.push(String(chunk)))
  return chunks
}

describe('a TCP proxy', () => {
  it('carries bytes and their ends both ways', async () => {
    const { join } = await setUp()
    const { client, peer } = await join()
    const [there, back] = [collect(peer), collect(client)]
    client.end('question')
    await once(peer, 'end')
    expect(there.join('')).toBe('question')
    peer.end('answer')
    await once(client, 'end')
    expect(back.join('')).toBe('answer')
  })

  it('names itself in a URL, and leaves the rest of it', async () => {
    const { proxy } = await setUp()
    expect(proxy.urlFor('postgres://ann:secret@db.example:5432/glimpse')).toBe(
      `postgres://ann:secret@127.0.0.1:${proxy.port}/glimpse`,
    )
  })

  it('adds latency, in the direction it is told to', async () => {
    const { proxy, join } = await setUp()
    const { client, peer } = await join()
    proxy.shape({ latencyMs: 150 }, 'toClient')
    const sentAt = performance.now()
    client.write('quick')
    await once(peer, 'data')
    const thereMs = performance.now() - sentAt
    peer.write('slow')
    await once(client, 'data')
    expect(thereMs).toBeLessThan(140)
    expect(performance.now() - sentAt - thereMs).toBeGreaterThan(140)
  })

  it('carries no more bytes a second than it may', async () => {
    const { proxy, join } = await setUp()
    const { client, peer } = await join()
    proxy.shape({ bytesPerSecond: 1000 }, 'toClient')
    const sentAt = performance.now()
    peer.end('x'.repeat(400))
    expect(await text(client)).toHaveLength(400)
    expect(performance.now() - sentAt).toBeGreaterThan(380)
  })

  it('cuts bytes into pieces', async () => {
    const { proxy, join } = await setUp()
    const { client, peer } = await join()
    proxy.shape({ sliceBytes: 2 }, 'toClient')
    const chunks = collect(client)
    peer.end('data: a heart')
    await once(client, 'end')
    expect(chunks.join('')).toBe('data: a heart')
    expect(chunks.length).toBeGreaterThan(3)
  })

  it('holds everything back when silent, and lets it through once healed', async () => {
    const { proxy, join } = await setUp()
    const { client, peer } = await join()
    const [there, back] = [collect(peer), collect(client)]
    proxy.blackhole('toClient')
    client.write('to the server')
    peer.write('to the client')
    await expect.poll(() => there.join('')).toBe('to the server')
    await sleep(100)
    expect(back).toEqual([])
    expect(client.destroyed).toBe(false)
    proxy.heal()
    await expect.poll(() => back.join('')).toBe('to the client')
  })

  it('accepts new connections when silent, and says nothing', async () => {
    const { proxy, join } = await setUp()
    proxy.blackhole()
    const { client, peer } = await join()
    const there = collect(peer)
    client.write('hello')
    await sleep(100)
    expect(there).toEqual([])
    expect(client.destroyed).toBe(false)
  })

  it('resets all connections, or the oldest', async () => {
    const { proxy, join } = await setUp()
    const [first, second, third] = [await join(), await join(), await join()]
    const failed = once(first.client, 'error')
    proxy.resetOne()
    expect(await failed).toMatchObject([{ code: 'ECONNRESET' }])
    await expect.poll(() => proxy.connections).toBe(2)
    expect(second.client.destroyed).toBe(false)
    proxy.resetAll()
    await expect
      .poll(() => [second, third].every(({ client, peer }) => client.closed && peer.closed))
      .toBe(true)
    expect(proxy.connections).toBe(0)
  })
})
