import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { ControlMessage } from '../../src/event.ts'
import type { Registration } from '../../src/hub/hub.ts'
import type { Sink } from '../../src/hub/sink.ts'
import { beginSse, sseCodec, sseControl } from '../../src/transport/sse.ts'

const body = (seq: number, text: string) =>
  `{"seq":${seq},"type":"order.paid","data":{"text":"${text}"},"timestamp":"now"}`

describe('events as SSE', () => {
  it('are each an id, a type and one line of data', () => {
    expect(sseCodec.encode(['e.1.a', 'e.2.b'], [body(1, 'one'), body(2, 'two')])).toBe(
      'id: e.1.a\nevent: order.paid\n' +
        'data: {"id":"e.1.a","seq":1,"type":"order.paid","data":{"text":"one"},"timestamp":"now"}\n\n' +
        'id: e.2.b\nevent: order.paid\n' +
        'data: {"id":"e.2.b","seq":2,"type":"order.paid","data":{"text":"two"},"timestamp":"now"}\n\n',
    )
  })

  it('are UTF-8, a byte in each character', () => {
    const frames = sseCodec.encode(['e.1.a'], [body(1, '🦊é')])
    expect(frames).toContain('"text":"\u00f0\u009f\u00a6\u008a\u00c3\u00a9"')
  })
})

const OPEN: ControlMessage = {
  type: 'stream.open',
  data: { cursor: 'e.7.a', oldest: 1, resumed: true, heartbeat_ms: 15_000, read: 'e.3.b', unread: 4 },
}

describe('what the stream says about itself as SSE', () => {
  it.each<ControlMessage>([
    OPEN,
    { type: 'stream.reset', data: { reason: 'trimmed', cursor: 'e.7.a', oldest: 8 } },
  ])('$type has its cursor as the id, so that an EventSource resumes there', (message) => {
    expect(sseControl(message)).toBe(
      `id: e.7.a\nevent: ${message.type}\ndata: ${JSON.stringify(message)}\n\n`,
    )
  })

  it.each<ControlMessage>([
    // The read mark is another position than that of the stream.
    { type: 'stream.read', data: { cursor: 'e.3.b', unread: 4 } },
    { type: 'stream.pong', data: {} },
    { type: 'stream.close', data: { reason: 'draining', reconnect: true, retry_ms: 1000 } },
  ])('$type has no id', (message) => {
    expect(sseControl(message)).toBe(`event: ${message.type}\ndata: ${JSON.stringify(message)}\n\n`)
  })
})

describe('the stream of GET /events', () => {
  let server: Server
  let client: Socket
  let received: string
  beforeEach(async () => {
    server = createServer()
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  })
  afterEach(() => {
    client.destroy()
    server.close()
  })

  /** A client asks, and `beginSse` answers with what the hub would write at its begin. */
  async function stream({ request = 'GET /events?token=t HTTP/1.1\r\nHost: x\r\n\r\n', gone = false } = {}) {
    client = connect((server.address() as AddressInfo).port, '127.0.0.1')
    received = ''
    client.setEncoding('utf8').on('data', (text) => {
      received += text
    })
    client.write(request)
    const [message, response] = (await once(server, 'request')) as [IncomingMessage, ServerResponse]
    const idle = vi.spyOn(message.socket, 'setTimeout')
    if (gone) message.socket.destroy()
    const connection = { gone: vi.fn() }
    const drained = vi.fn()
    let sink: Sink | undefined
    const registration = {
      connection,
      drained,
      begin(begun: Sink) {
        sink = begun
        begun.control(OPEN)
      },
    } as unknown as Registration
    beginSse(response, registration, { 'X-Request-Id': 'r1' })
    return { message, response, connection, drained, idle, sink: sink as unknown as Sink }
  }

  it('begins with headers that let nobody keep, buffer or guess at it, and with what the hub writes', async () => {
    const { idle, sink } = await stream()
    const opened = `retry: 2000\n\n${sseControl(OPEN)}`
    await expect.poll(() => received).toContain(opened)
    const [head = '', rest] = received.split('\r\n\r\n')
    const [status, ...headers] = head.split('\r\n')
    expect(status).toBe('HTTP/1.1 200 OK')
    expect(headers.filter((line) => !line.startsWith('Date: ')).toSorted()).toEqual([
      'Cache-Control: no-cache, no-transform',
      'Connection: close',
      'Content-Type: text/event-stream; charset=utf-8',
      'Referrer-Policy: no-referrer',
      'X-Accel-Buffering: no',
      'X-Content-Type-Options: nosniff',
      'X-Request-Id: r1',
    ])
    expect(rest).toBe(opened)
    expect(idle).toHaveBeenCalledWith(0)
    expect([sink.transport, sink.codec]).toEqual(['sse', sseCodec])
  })

  it('leaves in one packet until then', async () => {
    const { message } = await stream()
    expect(message.socket.writableCorked).toBe(0)
    const [packet] = await once(client, 'data')
    expect(packet).toContain('HTTP/1.1 200')
    expect(packet).toContain('stream.open')
  })

  it('forgets the request, whose URL may have a token', async () => {
    const { message } = await stream()
    expect([message.url, message.headers, message.rawHeaders]).toEqual(['', {}, []])
  })

  it('writes events and heartbeats as they are, and counts what the kernel took', async () => {
    const { sink } = await stream()
    await expect.poll(() => received).toContain('stream.open')
    expect(sink.unsent).toBe(0)
    const before = sink.sent
    sink.write(sseCodec.encode(['e.8.c'], [body(8, 'é')]))
    expect(sink.heartbeat()).toBe(true)
    await expect.poll(() => received).toMatch(/"text":"é".*\n\n:\n\n$/)
    const text = received.slice(received.indexOf('id: e.8.c'))
    expect(sink.sent - before).toBe(Buffer.byteLength(text))
  })

  it('counts as unsent what its client does not read, and says when there is room again', async () => {
    const { sink, drained } = await stream()
    await expect.poll(() => received).toContain('stream.open')
    client.removeAllListeners('data').pause()
    const large = 'x'.repeat(8_388_608)
    const before = sink.sent
    sink.write(large)
    expect(sink.unsent).toBeGreaterThan(0)
    expect(sink.sent - before + sink.unsent).toBe(large.length)
    expect(drained).not.toHaveBeenCalled()
    client.resume()
    await expect.poll(() => drained.mock.calls.length).toBeGreaterThan(0)
    expect([sink.unsent, sink.sent - before]).toEqual([0, large.length])
  })

  it.each([
    ['draining', true, 1500],
    // A day: an EventSource cannot be told to stay away.
    ['replaced', false, 86_400_000],
  ] as const)('ends with the reason %s and the time after which to come back', async (reason, reconnect, ms) => {
    const { sink, connection } = await stream()
    sink.close(reason, ms)
    await once(client, 'end')
    const data = { reason, reconnect, retry_ms: ms }
    expect(received.endsWith(`retry: ${ms}\n${sseControl({ type: 'stream.close', data })}`)).toBe(true)
    client.end()
    await expect.poll(() => connection.gone.mock.calls.length).toBe(1)
  })

  it('ends without a word where it must', async () => {
    const { sink, connection } = await stream()
    await expect.poll(() => received).toContain('stream.open')
    sink.destroy()
    await once(client, 'close')
    expect(received).not.toContain('stream.close')
    await expect.poll(() => connection.gone.mock.calls.length).toBe(1)
  })

  it('tells the hub when its client is gone, also after a body that nobody reads', async () => {
    const { connection } = await stream({
      request: `POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n${'x'.repeat(50_000)}`,
    })
    await expect.poll(() => received).toContain('stream.open')
    expect(connection.gone).not.toHaveBeenCalled()
    client.destroy()
    await expect.poll(() => connection.gone.mock.calls.length).toBe(1)
  })

  it('is not begun for a client that is gone already', async () => {
    const { connection, sink } = await stream({ gone: true })
    expect(sink).toBeUndefined()
    expect(connection.gone).toHaveBeenCalledOnce()
  })
})
