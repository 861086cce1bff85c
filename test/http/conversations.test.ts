import { EventEmitter } from 'node:events'
import type { Server } from 'node:http'
import { Duplex } from 'node:stream'
import { expect, it, onTestFinished, vi } from 'vitest'
import { Conversations } from '../../src/http/conversation.ts'

it('deadlines are checked while there are sockets, and hold after hours without any', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance'] })
  onTestFinished(() => void vi.useRealTimers())
  const server = new EventEmitter()
  new Conversations(server as Server, {
    headersTimeoutMs: 4000,
    keepAliveTimeoutMs: 4000,
    answerTimeoutMs: 4000,
    unsent: { maxBytes: 1, maxBytesPerAddress: 1, maxBytesPerUser: 1 } as never,
    onLimited: () => {},
    answer: () => {},
  })
  for (let turn = 0; turn < 2; turn++) {
    await vi.advanceTimersByTimeAsync(3_600_000)
    expect(vi.getTimerCount()).toBe(0)
    const socket = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() })
    server.emit('connection', socket)
    await vi.advanceTimersByTimeAsync(4900)
    expect(socket.writableEnded).toBe(false)
    await vi.advanceTimersByTimeAsync(3100)
    expect(socket.writableEnded).toBe(true)
    await vi.advanceTimersByTimeAsync(5000)
    expect(vi.getTimerCount()).toBe(0)
  }
})
