import { type ChildProcess, spawn } from 'node:child_process'
import { chmod, lstat, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Home } from '../support/embedded/home.ts'
import { answers, exists, postmasterPid, query, until } from '../support/embedded/server.ts'

let home: Home
beforeAll(async () => {
  home = await Home.make()
})
afterAll(() => home.remove())

describe('after kill -9', () => {
  test('of the only process: the next one finds the server running, and stops it as it leaves', async () => {
    const killed = await home.start('node')
    await killed.kill()
    expect(await answers(killed.url)).toBe(true)

    const next = await home.start('node')
    expect([next.shared, next.url]).toEqual([true, killed.url])
    await next.release()
    expect(await answers(killed.url)).toBe(false)
  })

  test('of everything but a busy backend: it alone is ended, and what was committed is there', async () => {
    const killed = await home.start('node')
    await query(killed.url, 'CREATE TABLE kept AS SELECT 1 AS answer')
    const orphan = await busyBackend(killed.url)
    const server = await postmasterPid(home, 'node')
    const bystander = spawn('sleep', ['60'], { cwd: join(home.folder('node'), 'postgres', 'data') })
    await killed.kill()
    process.kill(server, 'SIGKILL')
    await until('the server is gone', async () => !(await exists(server)))
    expect(await exists(orphan)).toBe(true)

    const began = Date.now()
    const next = await home.start('node')
    // Left to itself the orphan would have kept a new server out for its whole minute.
    expect(Date.now() - began).toBeLessThan(10_000)
    expect(await exists(orphan)).toBe(false)
    expect(next.shared).toBe(false)
    expect(await query(next.url, 'SELECT answer FROM kept')).toEqual([{ answer: 1 }])
    expect(isRunning(bystander)).toBe(true)
    bystander.kill()
    await next.release()
  })

  test('of the server under a living process: it comes back by itself at the same URL', async () => {
    const holder = await home.start('node')
    await query(holder.url, 'CREATE TABLE watched AS SELECT 1 AS answer')
    process.kill(await postmasterPid(home, 'node'), 'SIGKILL')
    await until('the server is back', async () => {
      return (await query(holder.url, 'SELECT answer FROM watched').catch(() => [])).length === 1
    })
    await until('it is said', () =>
      holder.lines.some(({ message }) => message?.includes('started again') ?? false),
    )
    await holder.release()
    expect(await answers(holder.url)).toBe(false)
  })

  test('in the middle of the first start: what was half made is made anew', async () => {
    const child = home.spawn(['holder', home.folder('half')])
    const files = join(home.folder('half'), 'postgres')
    const workshop = async () => {
      const names: string[] = await readdir(files).catch(() => [])
      return names.find((name) => name.startsWith('initdb-'))
    }
    await until('initdb has written its first files', async () => {
      const name = await workshop()
      const made: string[] =
        name === undefined ? [] : await readdir(join(files, name, 'data')).catch(() => [])
      return made.includes('base')
    })
    process.kill(-(child.pid ?? 0), 'SIGKILL')
    expect(await workshop()).toBeDefined()

    const next = await home.start('half')
    expect(await answers(next.url)).toBe(true)
    expect(await workshop()).toBeUndefined()
    await next.release()
  })

  test('with the pid given to an innocent process since: that one is neither believed nor touched', async () => {
    const first = await home.start('node')
    await first.release()
    const innocent = spawn('sleep', ['60'])
    const lines = [
      innocent.pid,
      join(home.folder('node'), 'postgres', 'data'),
      0,
      new URL(first.url).port,
      '',
      '127.0.0.1',
      '',
      'ready',
    ]
    await writeFile(join(home.folder('node'), 'postgres', 'data', 'postmaster.pid'), `${lines.join('\n')}\n`)

    const next = await home.start('node')
    expect(next.shared).toBe(false)
    expect(await answers(next.url)).toBe(true)
    expect(isRunning(innocent)).toBe(true)
    innocent.kill()
    await next.release()
  })
})

test('a server that somebody stopped in the proper way stays stopped', async () => {
  const holder = await home.start('node')
  const server = await postmasterPid(home, 'node')
  process.kill(server, 'SIGINT')
  await until('the server is gone', async () => !(await exists(server)))
  await sleep(2500)
  expect(await answers(holder.url)).toBe(false)
  await holder.release()
})

describe('an npm that skipped the install script', () => {
  test('is made up for by two processes at once: links and execute bits', async () => {
    const links = await removeLinks(home)
    for (const name of ['initdb', 'postgres', 'pg_ctl'])
      await chmod(join(home.nativeFolder, 'bin', name), 0o644)

    const holders = await Promise.all([home.start('node'), home.start('node')])
    for (const link of links) expect((await lstat(link)).isSymbolicLink()).toBe(true)
    await Promise.all(holders.map((holder) => holder.release()))
  })
})

/** Removes what the package's install script made; the paths. */
async function removeLinks(home: Home): Promise<string[]> {
  const root = join(home.nativeFolder, '..')
  const list = JSON.parse(await readFile(join(home.nativeFolder, 'pg-symlinks.json'), 'utf8')) as {
    target: string
  }[]
  const links = list.map(({ target }) => join(root, target))
  for (const link of links) await rm(link, { force: true })
  return links
}

/** A backend in a loop that notices neither its client's end nor its server's; its pid. */
async function busyBackend(url: string): Promise<number> {
  const sql = postgres(url, { max: 1, onnotice: () => {} })
  const [row] = await sql`SELECT pg_backend_pid() AS pid`
  const busy = `DO $$ DECLARE t timestamptz := clock_timestamp(); BEGIN WHILE clock_timestamp() < t + interval '60 s' LOOP END LOOP; END $$`
  sql.unsafe(busy).catch(() => {})
  await until('the backend is busy', async () => {
    const [active] = await query(
      url,
      `SELECT 1 FROM pg_stat_activity WHERE pid = ${row?.pid} AND query LIKE 'DO %'`,
    )
    return active !== undefined
  })
  return row?.pid
}

function isRunning(child: ChildProcess): boolean {
  return child.exitCode === null && child.signalCode === null
}
