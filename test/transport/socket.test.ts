import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { byteString, destroyLater, endSocket, writeBytes } from '../../src/transport/socket.ts'

/** A socket in memory: what was written, and a peer that sends by `push`. */
function fakeSocket() {
  const written: Buffer[] = []
  const duplex = new Duplex({
    autoDestroy: false,
    read() {},
    write(bytes, _, done) {
      written.push(bytes)
      done()
    },
  })
  return { socket: duplex as unknown as Socket, duplex, text: () => Buffer.concat(written).toString() }
}

describe('the end of a socket', () => {
  beforeEach(() => {
    vi.useFakeTimers()
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  it('brings the last words, and is waited for by two seconds at most', async () => {
    const { socket, text } = fakeSocket()
    endSocket(socket, 'bye')
    await vi.advanceTimersByTimeAsync(1999)
    expect([text(), socket.writableFinished, socket.destroyed]).toEqual(['bye', true, false])
    await vi.advanceTimersByTimeAsync(1)
    expect(socket.destroyed).toBe(true)
  })

  it('needs no words', async () => {
    const { socket, text } = fakeSocket()
    endSocket(socket)
    await vi.advanceTimersByTimeAsync(0)
    expect([text(), socket.writableFinished]).toEqual(['', true])
  })

  it('leaves no timer once the peer has closed', async () => {
    const { socket } = fakeSocket()
    endSocket(socket, 'bye')
    expect(vi.getTimerCount()).toBe(1)
    socket.destroy()
    await vi.advanceTimersByTimeAsync(0)
    expect(vi.getTimerCount()).toBe(0)
  })

  it('comes once, whoever asks again', async () => {
    const { socket, text } = fakeSocket()
    endSocket(socket, 'bye')
    endSocket(socket, 'bye again')
    await vi.advanceTimersByTimeAsync(0)
    expect([text(), vi.getTimerCount()]).toEqual(['bye', 1])
  })

  it('is not begun where the socket is destroyed', () => {
    const { socket } = fakeSocket()
    socket.destroy()
    endSocket(socket, 'bye')
    expect(vi.getTimerCount()).toBe(0)
    expect(socket.listenerCount('data')).toBe(0)
  })

  it('comes without words where our side is closed already', async () => {
    const { socket, text } = fakeSocket()
    const failed = vi.fn()
    socket.on('error', failed)
    socket.end('earlier')
    endSocket(socket, 'bye')
    await vi.advanceTimersByTimeAsync(2000)
    expect([text(), failed.mock.calls, socket.destroyed]).toEqual(['earlier', [], true])
  })

  // Unread bytes would make the kernel send a reset, with which the peer may lose the last words.
  it('reads and drops what the peer still sends; nobody works on it', async () => {
    const { socket, duplex } = fakeSocket()
    const parser = vi.fn()
    socket.on('data', parser)
    socket.pause()
    endSocket(socket, 'bye')
    duplex.push('more and more')
    await vi.advanceTimersByTimeAsync(0)
    expect(parser).not.toHaveBeenCalled()
    expect([socket.readableFlowing, socket.readableLength]).toEqual([true, 0])
    expect(socket.listenerCount('data')).toBe(1)
  })

  it('of a socket that another part ends comes within two seconds too', async () => {
    const { socket } = fakeSocket()
    destroyLater(socket)
    await vi.advanceTimersByTimeAsync(1999)
    expect(socket.destroyed).toBe(false)
    await vi.advanceTimersByTimeAsync(1)
    expect(socket.destroyed).toBe(true)
  })
})

describe('a text to write', () => {
  it.each(['', 'plain', 'é', '日本', '🦊', '\u0080\u00ff', 'a\ud83d'])('%j leaves as its UTF-8', (text) => {
    const { socket, text: sent } = fakeSocket()
    const bytes = byteString(text)
    expect(bytes).toHaveLength(Buffer.byteLength(text))
    writeBytes(socket, bytes)
    expect(sent()).toBe(Buffer.from(text).toString())
  })
})
