import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it, onTestFinished } from 'vitest'
import { dial } from '../security/http/exchange.ts'
import { Caller } from '../support/api.ts'
import { openSse } from '../support/clients/sse.ts'
import { createDatabase } from '../support/database.ts'
import { MainProcess, spawnInstance } from '../support/instance.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'
import { signToken, TEST_SECRET } from '../support/token.ts'

/** Long enough that a hang shows, short enough that a test may wait for it. */
const DRAIN_MS = 1500
/** A process takes a moment to be told and to end, the more so on a busy machine. */
const SLACK_MS = 1000

async function expectExit(main: MainProcess, ...more: NodeJS.Signals[]): Promise<void> {
  const began = Date.now()
  const ended = main.kill('SIGTERM')
  for (const signal of more) main.child.kill(signal)
  expect(await ended).toEqual({ code: 0, signal: null })
  expect(Date.now() - began).toBeLessThan(DRAIN_MS + SLACK_MS)
}

async function scene() {
  const database = await createDatabase()
  const proxy = await TcpProxy.before(database.url)
  const main = await spawnInstance({
    DATABASE_URL: proxy.urlFor(database.url),
    MIGRATE: 'off',
    DRAIN_TIMEOUT_MS: String(DRAIN_MS),
  })
  onTestFinished(async () => {
    main.child.kill('SIGKILL')
    await proxy.close()
    await database.drop()
  })
  const alice = new Caller(main.url, 'alice', await signToken('alice'))
  const story = await alice.post()
  return { main, proxy, alice, story }
}

const head = (line: string, { token }: Caller, ...more: string[]) =>
  [`${line} HTTP/1.1`, 'Host: x', `Authorization: Bearer ${token}`, ...more, '', ''].join('\r\n')
const UPGRADE = [
  'Connection: Upgrade',
  'Upgrade: websocket',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
]

describe('SIGTERM exits 0 in its time', () => {
  it('while it starts against a Postgres that says nothing', async () => {
    const silent = createServer((socket) => void socket.on('error', () => {})).listen(0, '127.0.0.1')
    await once(silent, 'listening')
    onTestFinished(() => void silent.close())
    const { port } = silent.address() as AddressInfo
    const main = new MainProcess({
      PORT: '0',
      JWT_SECRET: TEST_SECRET,
      DATABASE_URL: `postgres://a:b@127.0.0.1:${port}/c`,
      DRAIN_TIMEOUT_MS: String(DRAIN_MS),
    })
    onTestFinished(() => void main.child.kill('SIGKILL'))
    await once(silent, 'connection')
    await expectExit(main)
  })

  it('with silent flows to Postgres, a stream and writes that wait for it, and a WebSocket that waits to open', async () => {
    const { main, proxy, alice, story } = await scene()
    const stream = await openSse(alice)
    onTestFinished(() => stream.cut())
    proxy.blackhole()
    const waiting = [
      head('GET /ws', alice, ...UPGRADE),
      head('GET /events', alice),
      head(`POST /stories/${story}/view`, alice),
      head(`GET /stories/${story}`, alice),
    ].map((bytes) => {
      const socket = dial(main.url).resume()
      socket.write(bytes)
      return socket
    })
    onTestFinished(() => waiting.forEach((socket) => void socket.destroy()))
    await sleep(200)
    await expectExit(main)
  })

  it('with half-open sockets, and peers that read nothing', async () => {
    const { main, alice } = await scene()
    const peers = [
      '',
      'GET /livez HT',
      head('GET /livez', alice),
      head('GET /openapi.json', alice).repeat(200),
      head('GET /events', alice),
      head('GET /ws', alice, ...UPGRADE),
      head('POST /stories', alice, 'Content-Type: application/json', 'Content-Length: 100'),
    ].map((bytes) => {
      const socket = dial(main.url).pause()
      socket.write(bytes)
      return socket
    })
    onTestFinished(() => peers.forEach((socket) => void socket.destroy()))
    await sleep(200)
    await expectExit(main)
  })

  it('sent twice', async () => {
    const { main, alice } = await scene()
    const stream = await openSse(alice)
    onTestFinished(() => stream.cut())
    await expectExit(main, 'SIGTERM', 'SIGTERM')
  })
})
