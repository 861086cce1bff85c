import { chmod, link, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { identifySelf, isAlive, type ProcessIdentity, parseIdentity } from './process.ts'

/**
 * A lock between processes that survives kill -9 of its holder, from plain files (Node has no flock).
 *
 * Tickets are files 1, 2, 3 …, each with its holder; the highest one counts. A process that finds it freed, or its holder
 * dead, takes the next number with link(2), which only one process can do. Numbers only rise, and nobody deletes the ticket
 * of a dead holder. That is where lock files usually fail: two processes find the same dead holder, and the slower one
 * deletes the lock that the quicker one has just taken.
 */
export async function withLock<T>(folder: string, work: () => Promise<T>, onWait?: OnWait): Promise<T> {
  const mine = await acquire(folder, onWait)
  try {
    return await work()
  } finally {
    // Truncated instead of rewritten, so that a full disk does not keep the lock held.
    await truncate(join(folder, String(mine)))
  }
}

/** Called once a second while another process holds the lock; may throw to stop waiting. */
type OnWait = (holder: ProcessIdentity, waitedMs: number) => void

async function acquire(folder: string, onWait: OnWait | undefined): Promise<number> {
  const began = Date.now()
  let warned = 0
  for (;;) {
    const last = (await tickets(folder)).at(-1) ?? 0
    const holder = last === 0 ? undefined : await holderOf(folder, last)
    if (holder === undefined) {
      if (await take(folder, last + 1)) return last + 1
      continue
    }
    const waited = Date.now() - began
    if (waited >= (warned + 1) * 1000) {
      warned = Math.floor(waited / 1000)
      onWait?.(holder, waited)
    }
    await sleep(20)
  }
}

async function take(folder: string, number: number): Promise<boolean> {
  const draft = join(folder, `draft-${process.pid}-${crypto.randomUUID()}`)
  try {
    await writeFile(draft, JSON.stringify(await identifySelf()))
    // Readable whatever the umask is: the folder's owner must see that root holds the lock.
    await chmod(draft, 0o644)
    // A link appears with its content; a file created with O_EXCL would stay empty if we died before writing.
    await link(draft, join(folder, String(number)))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  } finally {
    await rm(draft, { force: true })
  }
  const all = await tickets(folder)
  if (all.at(-1) !== number) {
    // Our listing was old: since then this number was taken, freed and removed.
    await rm(join(folder, String(number)), { force: true })
    return false
  }
  // The ticket before ours stays, so that no concurrent listing is empty.
  for (const old of all) if (old < number - 1) await rm(join(folder, String(old)), { force: true })
  return true
}

async function tickets(folder: string): Promise<number[]> {
  const names = await readdir(folder)
  return names
    .filter((name) => /^[1-9][0-9]*$/.test(name))
    .map(Number)
    .sort((a, b) => a - b)
}

/** The living holder of a ticket; undefined if the ticket is freed (empty) or gone, or the holder dead. */
async function holderOf(folder: string, ticket: number): Promise<ProcessIdentity | undefined> {
  const text = await readFile(join(folder, String(ticket)), 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error
    return ''
  })
  const holder = parseIdentity(text)
  return holder !== undefined && (await isAlive(holder)) ? holder : undefined
}
