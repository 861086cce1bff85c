import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, it } from 'vitest'
import { startEach } from '../../bench/harness/contenders.ts'
import { cpuMsOf, familyCpuMs, parentOf } from '../../bench/harness/usage.ts'
import { handshake, openPipelined, openStream } from '../../bench/load/streams.ts'

describe('startEach', () => {
  it('goes on where a peer is not installed or does not start, and says so', async () => {
    const absent: string[] = []
    const starts = {
      first: async () => ({ port: 1 }),
      broken: async () => {
        throw new Error('port taken')
      },
      last: async () => ({ port: 3 }),
    }
    const contenders = await startEach<{ port: number }>({ absent }, starts)
    expect(contenders).toEqual([
      { name: 'first', port: 1 },
      { name: 'last', port: 3 },
    ])
    expect(absent).toEqual(['broken could not be started: port taken'])
  })
})

describe.skipIf(process.platform !== 'linux')('usage, read from /proc (Linux only)', () => {
  it('counts the time that a process computes', () => {
    const before = cpuMsOf(process.pid)
    const began = process.cpuUsage()
    while (process.cpuUsage(began).user < 60_000) Math.sqrt(2)
    expect(cpuMsOf(process.pid) - before).toBeGreaterThan(30)
  })

  it('counts a family as no less than its head', () => {
    const own = cpuMsOf(process.pid)
    expect(familyCpuMs(process.pid)).toBeGreaterThanOrEqual(own)
  })

  it('knows nothing of a process that is not there', () => {
    expect(cpuMsOf(2 ** 22 + 1)).toBeNaN()
    expect(familyCpuMs(2 ** 22 + 1)).toBeNaN()
    expect(parentOf(process.pid)).toBe(process.ppid)
  })
})

describe('openStream', () => {
  it('says at once that an instance refuses the stream, which it does with status 200', async () => {
    const server = createServer((_request, response) => {
      response.end('retry: 9000\nevent: stream.close\ndata: {"type":"stream.close"}\n\n')
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    const shake = handshake('sse', `http://127.0.0.1:${port}`, { user: 'bob' })
    await expect(openStream(shake, () => {})).rejects.toThrow(/was refused: HTTP.* 200/)
    server.close()
  })
})

describe('openPipelined', () => {
  it('counts the answers, whatever their bodies, and tells of any that is no 2xx', async () => {
    const server = createServer((request, response) => {
      response.statusCode = request.url === '/bad' ? 503 : 202
      response.end('HTTP/1.')
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    const connection = openPipelined(`http://127.0.0.1:${port}`)
    const request = (path: string) => `POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n`
    const good = Array.from({ length: 50 }, () => request('/good'))
    await connection.send(good)
    await connection.send(good)
    await expect(connection.send([...good, request('/bad')])).rejects.toThrow('HTTP/1.1 503')
    connection.close()
    server.close()
  })
})
