import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { withLock } from '../../src/embedded/lock.ts'
import { identify } from '../../src/embedded/process.ts'
import { until } from '../support/embedded/server.ts'

const HAMMER = new URL('../support/embedded/lock-hammer.ts', import.meta.url).pathname

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'glimpse-lock-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

test('lets one in at a time, and leaves few files behind', async () => {
  let inside = 0
  let most = 0
  const visit = () =>
    withLock(folder, async () => {
      inside += 1
      most = Math.max(most, inside)
      await new Promise(setImmediate)
      inside -= 1
    })
  await Promise.all(Array.from({ length: 20 }, visit))
  expect(most).toBe(1)
  expect((await readdir(folder)).length).toBeLessThanOrEqual(2)
})

test('is given back when the work throws, and hands on what it throws', async () => {
  await expect(withLock(folder, () => Promise.reject(new Error('work')))).rejects.toThrow('work')
  expect(await withLock(folder, async () => 'in')).toBe('in')
})

test('of processes of which one is killed inside, none is ever inside with another, and none waits for the dead', async () => {
  const journal = join(folder, 'journal')
  await writeFile(journal, '')
  const children = [1, 2, 3, 4].map(() =>
    spawn(process.execPath, ['--import', 'tsx', HAMMER, folder, journal, '40'], { stdio: 'inherit' }),
  )
  const victim = children[0]
  const exits = children.map((child) => once(child, 'exit'))
  const lines = async () => (await readFile(journal, 'utf8')).trim().split('\n')
  await until('the victim is inside', async () => (await lines()).at(-1) === `+${victim?.pid}`)
  victim?.kill('SIGKILL')
  await Promise.all(exits)

  expect(children.slice(1).map((child) => child.exitCode)).toEqual([0, 0, 0])
  let holder: string | undefined
  for (const line of await lines()) {
    const [sign, pid] = [line[0], line.slice(1)]
    if (sign === '-') expect(pid).toBe(holder)
    // Only from the dead may anybody take over.
    else expect([undefined, String(victim?.pid)]).toContain(holder)
    holder = sign === '+' ? pid : undefined
  }
})

test('is not held by a stranger who has the pid of a dead holder', async () => {
  await writeFile(join(folder, '7'), JSON.stringify({ pid: process.pid, started: 'in another life' }))
  expect(await withLock(folder, async () => 'in')).toBe('in')
})

test.each(['', '{"pid":', '\0\0\0'])('is not held by a ticket that lost its content: %j', async (content) => {
  await writeFile(join(folder, '1'), content)
  expect(await withLock(folder, async () => 'in')).toBe('in')
})

test('tells who holds it, and may be given up', async () => {
  await writeFile(join(folder, '1'), JSON.stringify(await identify(process.pid)))
  const waiting = withLock(
    folder,
    async () => 'in',
    (holder, waited) => {
      throw new Error(`${holder.pid} for ${Math.floor(waited / 1000)} s`)
    },
  )
  await expect(waiting).rejects.toThrow(`${process.pid} for 1 s`)
})
