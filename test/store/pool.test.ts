import { once } from 'node:events'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { createPool } from '../../src/store/pool.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { upTo } from '../support/sql-writer.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'

let database: TestDatabase
beforeAll(async () => {
  database = await createDatabase()
})
afterAll(() => database.drop())

async function listening(server: Server): Promise<string> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  return `postgres://nobody@127.0.0.1:${(server.address() as AddressInfo).port}/none`
}

describe('a pool', () => {
  it('goes on at once after its connections were cut while statements waited for their turn', async () => {
    const { hostname, port } = new URL(database.url)
    const proxy = await TcpProxy.start({ host: hostname, port: Number(port) })
    onTestFinished(() => proxy.close())
    const sql = createPool(proxy.urlFor(database.url), 3, 'pool-test')
    onTestFinished(() => sql.end({ timeout: 0 }))
    for (const _ of upTo(3)) {
      await Promise.all(upTo(3).map(() => sql`select pg_sleep(0.01)`))
      proxy.resetAll()
      const cut: Promise<unknown>[] = []
      // As whoever batches does: statements that begin in the turn in which the close is noticed.
      for (const __ of upTo(20)) {
        await nextTurn()
        cut.push(sql`select 1`.catch(() => {}))
      }
      await Promise.all(cut)
      const startedAt = performance.now()
      await Promise.all(upTo(6).map(() => sql`select 1`))
      expect(performance.now() - startedAt).toBeLessThan(2000)
    }
  })

  it('rejects a statement where the server accepts and closes without a word, and does not hammer it', async () => {
    let accepted = 0
    const url = await listening(
      createServer((socket) => {
        accepted++
        socket.on('error', () => {}).end()
      }),
    )
    const sql = createPool(url, 1, 'pool-test')
    onTestFinished(() => sql.end({ timeout: 0 }))
    await expect(sql`select 1`).rejects.toThrow('the server closed the connection')
    expect(accepted).toBeLessThan(5)
  })

  it('rejects a statement where nobody listens', async () => {
    const sql = createPool('postgres://nobody@127.0.0.1:9/none', 1, 'pool-test')
    onTestFinished(() => sql.end({ timeout: 0 }))
    await expect(sql`select 1`).rejects.toThrow('ECONNREFUSED')
  })

  it('tries the hosts of a URL in turn', async () => {
    const url = new URL(database.url)
    const sql = createPool(database.url.replace(url.host, `127.0.0.1:9,${url.host}`), 1, 'pool-test')
    onTestFinished(() => sql.end({ timeout: 0 }))
    await sql`select 1`.catch(() => {})
    expect(await sql`select 1 as one`).toMatchObject([{ one: 1 }])
  })
})
