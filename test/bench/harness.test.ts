import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, it } from 'vitest'
import { startEach } from '../../bench/harness/contenders.ts'
import { Absent } from '../../bench/harness/installed.ts'
import { familyCpuMs, parentOf, usageOf } from '../../bench/harness/usage.ts'
import { openPipelined } from '../../bench/load/pipelined.ts'

describe('startEach', () => {
  it('goes on where a peer is not installed or does not start, and says so', async () => {
    const { contenders, absent } = await startEach<string>({
      first: async () => 'first',
      broker: async () => {
        throw new Absent('not installed here')
      },
      broken: async () => {
        throw new Error('port taken')
      },
      last: async () => 'last',
    })
    expect(contenders).toEqual(['first', 'last'])
    expect(absent).toEqual(['broker: not installed here', 'broken could not be started: port taken'])
  })
})

describe.skipIf(process.platform !== 'linux')('usage, read from /proc (Linux only)', () => {
  it('counts the time that a process computes', () => {
    const before = usageOf(process.pid)?.cpuMs as number
    const began = process.cpuUsage()
    while (process.cpuUsage(began).user < 60_000) Math.sqrt(2)
    expect((usageOf(process.pid)?.cpuMs as number) - before).toBeGreaterThan(30)
  })

  it('counts a family as no less than its head', () => {
    const own = usageOf(process.pid)?.cpuMs as number
    expect(familyCpuMs(process.pid)).toBeGreaterThanOrEqual(own)
  })

  it('knows nothing of a process that is not there, nor takes another program for the one meant', () => {
    expect(usageOf(2 ** 22 + 1)).toBeUndefined()
    expect(familyCpuMs(2 ** 22 + 1)).toBeUndefined()
    expect(parentOf(process.pid, 'no-such-program')).toBeUndefined()
    expect(parentOf(process.pid, 'node')).toBe(process.ppid)
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
    let answers = 0
    let tell = (_why: string) => {}
    const told = new Promise<string>((resolve) => {
      tell = resolve
    })
    let fifty = () => {}
    const allGood = new Promise<void>((resolve) => {
      fifty = resolve
    })
    const connection = await openPipelined(
      `http://127.0.0.1:${port}`,
      (count) => {
        answers += count
        if (answers === 50) fifty()
      },
      (why) => tell(why),
    )
    const request = (path: string) => `POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n`
    connection.write(Buffer.from(request('/good').repeat(50)))
    await allGood
    connection.write(Buffer.from(request('/bad')))
    expect(await told).toContain('503')
    connection.close()
    server.close()
  })
})
