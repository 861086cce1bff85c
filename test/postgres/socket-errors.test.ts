import { type AddressInfo, createServer, Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { parseConnectionUrl } from '../../src/postgres/connection-url.ts'
import { failureKind } from '../../src/postgres/failure.ts'
import { openPool } from '../../src/postgres/pool.ts'
import { Session } from '../../src/postgres/session.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'

// An error that nobody listens for is an uncaught exception, which fails the run as it would end the service.
const ERRNOS = [
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EADDRNOTAVAIL',
  'EMFILE',
  'ECONNRESET',
  'ETIMEDOUT',
  'EPIPE',
  'EACCES',
]

let database: TestDatabase
beforeAll(async () => {
  database = await createDatabase()
})
afterAll(() => database.drop())

const connect = Socket.prototype.connect
afterEach(() => {
  Socket.prototype.connect = connect
})

const injected = (code: string) =>
  Object.assign(new Error(`connect ${code}`), { code, syscall: 'connect', errno: -1 })

/** What happens to a socket instead of, or after, its connecting. */
function whenConnecting(happens: (socket: Socket) => unknown): Socket[] {
  const sockets: Socket[] = []
  Socket.prototype.connect = function (this: Socket, ...parts: unknown[]) {
    sockets.push(this)
    return (happens(this) ?? Reflect.apply(connect, this, parts)) as Socket
  } as typeof connect
  return sockets
}

function pool(query = '') {
  const sql = openPool(parseConnectionUrl(`${database.url}${query}`), 'errors', { max: 1, deadlineMs: 3000 })
  onTestFinished(() => sql.end({ timeout: 0 }))
  return sql
}

describe.each(ERRNOS)('%s', (code) => {
  it.each([
    [
      'thrown while connecting',
      () => {
        throw injected(code)
      },
    ],
    ['as an event in the next tick', (socket: Socket) => socket.destroy(injected(code))],
    [
      'as an event a moment later',
      (socket: Socket) => {
        setTimeout(() => socket.destroy(injected(code)), 5)
        return socket
      },
    ],
    [
      'right after the connection was made',
      (socket: Socket) => void socket.once('connect', () => socket.destroy(injected(code))),
    ],
    [
      'as an event alone, without the end of the socket',
      (socket: Socket) => {
        process.nextTick(() => socket.emit('error', injected(code)))
        return socket
      },
    ],
  ])('%s fails the statement and nothing else', async (_when, happens) => {
    const sql = pool()
    whenConnecting(happens)
    const error = await sql`select 1`.then(
      () => undefined,
      (reason) => reason,
    )
    expect(error?.code).toBe(code)
    expect(failureKind(error)).toBe('unavailable')
    Socket.prototype.connect = connect
    await expect.poll(() => sql`select 1 as one`.catch(() => [])).toEqual([{ one: 1 }])
  })

  it('on an idle connection, a busy one, and the one that asks to cancel', async () => {
    const sql = pool('?sslmode=disable')
    const sockets = whenConnecting(() => undefined)
    await sql`select 1`
    sockets[0]?.destroy(injected(code))
    await sleep(20)
    expect(await sql`select 1 as one`).toEqual([{ one: 1 }])

    const busy = sql`select pg_sleep(5)`.catch((error) => error)
    await sleep(50)
    sockets.at(-1)?.destroy(injected(code))
    expect(await busy).toMatchObject({ code })

    await sql`select 1`
    whenConnecting((socket) => socket.destroy(injected(code)))
    await expect(sql.within(50, async (timed) => timed`select pg_sleep(1)`)).rejects.toMatchObject({
      code: 'TIMEOUT',
    })
    await sleep(20)
  })
})

/** PostgreSQL, Message Formats: ErrorResponse, as a server sends it that shuts down; and AuthenticationOk. */
const FATAL_FIELDS = Buffer.from('SFATAL\0VFATAL\0C57P03\0Mthe database system is shutting down\0\0')
const FATAL = Buffer.concat([Buffer.from([0x45, 0, 0, 0, FATAL_FIELDS.length + 4]), FATAL_FIELDS])
const AUTHENTICATED = Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 0])

describe('a server that goes away while a session opens', () => {
  it.each<[string, (socket: Socket) => void]>([
    ['closes at once', (socket) => socket.end()],
    ['is gone at once', (socket) => socket.destroy()],
    ['resets at once', (socket) => socket.resetAndDestroy()],
    ['says why at once', (socket) => socket.end(FATAL)],
    ['closes when it is asked', (socket) => socket.once('data', () => socket.end())],
    ['resets when it is asked', (socket) => socket.once('data', () => socket.resetAndDestroy())],
    ['says why when it is asked', (socket) => socket.once('data', () => socket.end(FATAL))],
    ['says half of why', (socket) => socket.once('data', () => socket.end(FATAL.subarray(0, 20)))],
    ['closes once it has let in', (socket) => socket.once('data', () => socket.end(AUTHENTICATED))],
  ])('%s: that is an error at once, on both ways to read', async (_, act) => {
    const server = createServer((socket) => {
      socket.on('error', () => {})
      act(socket)
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => void server.close())
    const { port } = server.address() as AddressInfo
    for (const mode of ['disable', 'prefer'])
      for (const read of [
        undefined,
        (chunk: Buffer, socket: Socket) => {
          socket.push(Buffer.from(chunk))
          return true
        },
      ]) {
        const connection = parseConnectionUrl(`postgres://u:p@127.0.0.1:${port}/x?sslmode=${mode}`)
        // Far longer than a test may take: nothing may rely on it.
        const opening = Session.open({ connection, purpose: 'test', timeoutMs: 600_000, read })
        await expect(opening).rejects.toMatchObject({
          code: expect.stringMatching(/^(CLOSED|57P03|ECONNRESET)$/),
        })
      }
  })
})
