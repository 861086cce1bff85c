import { chmod, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { identifySelf, isAlive, parseIdentity } from './process.ts'

/**
 * The processes that use the server: one file per start. Every function here is called under the lock, so that no file is
 * read half-written.
 */
export async function takeLease(folder: string): Promise<string> {
  const lease = join(folder, `${process.pid}-${crypto.randomUUID()}`)
  await writeFile(lease, JSON.stringify(await identifySelf()))
  await chmod(lease, 0o644)
  return lease
}

export async function dropLease(lease: string): Promise<void> {
  await rm(lease, { force: true })
}

/** Removes leases of dead processes. @returns the number of the others */
export async function countLeases(folder: string): Promise<number> {
  let living = 0
  for (const name of await readdir(folder)) {
    const lease = join(folder, name)
    const holder = parseIdentity(await readFile(lease, 'utf8'))
    if (holder !== undefined && (await isAlive(holder))) living += 1
    else await rm(lease, { force: true })
  }
  return living
}
