import { EventEmitter } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import type { Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import { descriptorLimit, limitSockets, socketsWithin } from '../../src/limits/sockets.ts'
import type { Logger } from '../../src/observability/log.ts'

class FakeSocket extends EventEmitter {
  readonly remoteAddress: string | undefined
  readonly destroy = vi.fn()

  constructor(remoteAddress: string | undefined) {
    super()
    this.remoteAddress = remoteAddress
  }
}

function limited({ maxConnections = 10, maxConnectionsPerAddress = 1, trustProxy = 0 } = {}) {
  const server = new EventEmitter() as EventEmitter & { maxConnections?: number }
  const lines: string[] = []
  const logged: unknown[] = []
  const say = (level: string) => (fields: unknown, text?: string) => {
    lines.push(`${level}: ${text ?? fields}`)
    logged.push(fields)
  }
  const log = { info: say('info'), warn: say('warn') } as unknown as Logger
  const refused: string[] = []
  const limits = { maxConnections, maxConnectionsPerAddress, trustProxy }
  limitSockets(server as unknown as Server, limits, log, (limit) => refused.push(limit))
  const connect = (address: string | undefined) => {
    const socket = new FakeSocket(address)
    server.emit('connection', socket)
    return socket
  }
  return { server, lines, logged, refused, connect }
}

/** A part of /proc/self/limits, with a line that names the same words within it. */
const LIMITS = `Limit                     Soft Limit           Hard Limit           Units
Not Max open files        7                    7                    files
Max open files            SOFT                 4096                 files
Max locked memory         8388608              8388608              bytes
`

describe('open sockets', () => {
  it('are more than the streams: one stream too many still gets an answer', () => {
    const { server } = limited({ maxConnections: 105 })
    expect(server.maxConnections).toBe(Math.min(1116, socketsWithin(descriptorLimit())))
  })

  it('leave descriptors for Postgres and the log, half of them where there are few', () => {
    expect([socketsWithin(20_000), socketsWithin(256), socketsWithin(100), socketsWithin(7)]).toEqual([
      19_872, 128, 50, 4,
    ])
  })

  it.each([
    ['as Linux lists it', LIMITS.replace('SOFT', '1024  '), 1024],
    ['as infinity where there is none', LIMITS.replace('SOFT', 'unlimited'), Number.POSITIVE_INFINITY],
    ['as infinity where no line is of it', LIMITS.replace('Max open', 'Min open'), Number.POSITIVE_INFINITY],
    ['as infinity where the system does not tell', undefined, Number.POSITIVE_INFINITY],
  ])('are limited by the descriptors, read %s', (_, text, limit) => {
    const folder = mkdtempSync(join(tmpdir(), 'limits-'))
    try {
      const file = join(folder, 'limits')
      if (text !== undefined) writeFileSync(file, text)
      expect(descriptorLimit(file)).toBe(limit)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it.runIf(process.platform === 'linux')('are limited by the descriptors of this very process', () => {
    const [, soft] = /^Max open files +(\d+|unlimited)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? []
    expect(String(descriptorLimit())).toBe(soft?.replace('unlimited', 'Infinity'))
  })

  it('past the bound are said once to be closed, and once to be taken again', () => {
    const { server, lines, logged, refused, connect } = limited()
    connect('192.0.2.1')
    server.emit('drop')
    server.emit('drop')
    connect('192.0.2.2')
    connect('192.0.2.3')
    server.emit('drop')
    const closed = 'warn: the limit of open sockets is reached: new ones are closed'
    expect(lines).toEqual([closed, 'info: new sockets are accepted again', closed])
    expect(logged[0]).toEqual({ sockets: server.maxConnections })
    expect(refused).toEqual(['sockets', 'sockets', 'sockets'])
  })

  it('that can’t be accepted end nothing', () => {
    const { server, lines, logged } = limited()
    const err = Object.assign(new Error('too many open files'), { code: 'EMFILE' })
    // Whoever can't listen in the first place says so.
    server.emit('error', new Error('in use'))
    expect(lines).toEqual([])
    Object.assign(server, { listening: true }).emit('error', err)
    expect(logged).toEqual([{ err }])
    expect(lines).toEqual(['warn: a connection could not be accepted'])
  })

  it('of one address are bounded, and free their place when they close', () => {
    const { refused, connect } = limited({ maxConnectionsPerAddress: 3 })
    const taken = Array.from({ length: 106 }, () => connect('192.0.2.1'))
    const over = connect('192.0.2.1')
    expect(over.destroy).toHaveBeenCalledOnce()
    expect(refused).toEqual(['address_sockets'])
    // One that was refused frees nobody's place.
    over.emit('close')
    expect(connect('192.0.2.1').destroy).toHaveBeenCalledOnce()
    expect(connect('192.0.2.2').destroy).not.toHaveBeenCalled()
    taken[0]?.emit('close')
    expect(connect('192.0.2.1').destroy).not.toHaveBeenCalled()
    for (const socket of taken) expect(socket.destroy).not.toHaveBeenCalled()
  })

  it.each([
    ['behind a trusted proxy', 1, '192.0.2.1'],
    ['whose peer is gone already', 0, undefined],
  ])('%s are not counted for an address', (_, trustProxy, address) => {
    const { refused, connect } = limited({ trustProxy })
    for (let i = 0; i < 200; i++) expect(connect(address).destroy).not.toHaveBeenCalled()
    expect(refused).toEqual([])
  })
})
