import { subscribe } from 'node:diagnostics_channel'
import type { Socket } from 'node:net'
import postgres from 'postgres'
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { uniqueName } from '../support/api.ts'
import { closing, open, STREAMING } from '../support/clients/index.ts'
import { openSse, type SseStream } from '../support/clients/sse.ts'
import { openWebSocket, type WsStream } from '../support/clients/websocket.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { type Instance, startInstance } from '../support/instance.ts'
import { insertStory, upTo } from '../support/sql-writer.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'

// More than the kernel's socket buffers hold on a loopback connection, so that the service itself must wait.
const EVENTS = 20_000
const OUTBOX_MAX_BYTES = 4096

let database: TestDatabase
let instance: Instance
let sql: postgres.Sql
beforeAll(async () => {
  database = await createDatabase()
  sql = postgres(database.url, { max: 2 })
})
afterEach(() => instance.close())
afterAll(async () => {
  await sql.end()
  await database.drop()
})

/** About 700 bytes each. */
async function flood(author: string): Promise<void> {
  const story = await insertStory(sql, author)
  for (let from = 0; from < EVENTS; from += 1_000)
    await sql`insert into glimpse.story_views (story_id, viewer_id)
              select ${story}, repeat('😀', 120) || n from generate_series(${from + 1}::int, ${from + 1_000}::int) as n`
}

/** The service runs in this process, so the sockets it accepts, and what piles up in them, can be seen from here. */
const accepted = new Set<Socket>()
subscribe('net.server.socket', (message) => {
  const { socket } = message as { socket: Socket }
  accepted.add(socket)
  socket.once('close', () => accepted.delete(socket))
})

function unsentBytes(): number[] {
  return [...accepted].map(({ writableLength }) => writableLength)
}

const OPEN = { sse: openSse, ws: openWebSocket }

describe.each(STREAMING)('a reader that pauses, over %s', (transport) => {
  it('past OUTBOX_MAX_BYTES, then reads on: it catches up from the log, complete and in order', async () => {
    instance = await startInstance({ OUTBOX_MAX_BYTES: String(OUTBOX_MAX_BYTES) }, { database })
    const author = uniqueName('author')
    const token = await instance.token(author)
    const slow = await closing<SseStream | WsStream>(OPEN[transport]({ url: instance.url, token }))
    const quick = await open(transport, { url: instance.url, token })
    slow.pause()
    expect(unsentBytes().length).toBeGreaterThanOrEqual(2)
    await flood(author)
    expect((await quick.take(EVENTS)).map(({ json }) => json.seq)).toEqual(upTo(EVENTS))
    expect(slow.events.length).toBeLessThan(EVENTS)
    // One write may reach over the bound: what came in one piece over the bus. Unbounded it would be megabytes.
    expect(Math.max(...unsentBytes())).toBeLessThan(OUTBOX_MAX_BYTES + 256 * 1024)
    slow.resume()
    expect((await slow.take(EVENTS)).map(({ json }) => json.seq)).toEqual(upTo(EVENTS))
  })

  it('and reads nothing for STALL_TIMEOUT_MS is closed; it resumes where it was', async () => {
    instance = await startInstance(
      { OUTBOX_MAX_BYTES: String(OUTBOX_MAX_BYTES), STALL_TIMEOUT_MS: '1000' },
      { database },
    )
    const author = uniqueName('author')
    const token = await instance.token(author)
    const slow = await closing<SseStream | WsStream>(OPEN[transport]({ url: instance.url, token }))
    const quick = await open(transport, { url: instance.url, token })
    slow.pause()
    await flood(author)
    await quick.take(EVENTS)
    // What the service can still be seen holding: its gauge of open connections.
    await expect.poll(() => openConnections()).toBe(1)
    slow.resume()
    const { code } = await slow.closed
    if (transport === 'ws') expect([4002, 1006]).toContain(code)
    const before = slow.events.length
    expect(before).toBeLessThan(EVENTS)
    expect(slow.seqs).toEqual(upTo(before))

    const again = await open(transport, { url: instance.url, token, lastEventId: slow.cursor })
    expect((await again.take(EVENTS - before))[0]?.json.seq).toBe(before + 1)
  })
})

it('a WebSocket that reads, but has not come to our pings yet, is not taken for gone', async () => {
  instance = await startInstance({ OUTBOX_MAX_BYTES: '1000000', HEARTBEAT_INTERVAL_MS: '100' }, { database })
  const network = await TcpProxy.before(instance.url)
  onTestFinished(() => network.close())
  const author = uniqueName('author')
  const token = await instance.token(author)
  await flood(author)
  network.shape({ bytesPerSecond: 2_000_000 }, 'toClient')
  const slow = await closing(openWebSocket({ url: network.urlFor(instance.url), token, lastEventId: '0' }))
  // As if every pong were stuck, for as long as there is anything to read.
  network.blackhole('toServer')
  // Seven intervals' worth.
  await slow.take(2_000)
  expect(await openConnections()).toBe(1)
})

async function openConnections(): Promise<number> {
  const metrics = await (await fetch(`${instance.url}/metrics`)).text()
  const values = [...metrics.matchAll(/^glimpse_connections(?:\{[^}]*\})? (\d+)$/gm)].map(([, value]) =>
    Number(value),
  )
  return values.reduce((sum, value) => sum + value, 0)
}
