import { mkdtemp, readdir, rm, stat, statfs } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { findLayout } from '../../src/embedded/layout.ts'
import { countLeases } from '../../src/embedded/leases.ts'
import { withLock } from '../../src/embedded/lock.ts'
import { clearRemains } from '../../src/embedded/recovery.ts'
import { createLogger } from '../../src/observability/log.ts'

/** What every test server's folder is called. */
export const PREFIX = 'glimpse-test-'

/** In memory on Linux. */
const MEMORY = '/dev/shm'
const GIB = 2 ** 30

/**
 * A new folder for a test server: in memory where there is plenty, because on some disks copying a database takes twenty
 * times as long, and hundreds are copied; else among the temporary files.
 */
export async function makeServerFolder(): Promise<string> {
  const { bavail, bsize } = await statfs(MEMORY).catch(() => ({ bavail: 0, bsize: 0 }))
  const plenty = bavail * bsize > 2 * GIB && process.availableMemory() > 4 * GIB
  return mkdtemp(join(plenty ? MEMORY : tmpdir(), PREFIX))
}

/** Ends the servers of test runs that were killed before they could, and removes their folders. */
export async function clearLeftovers(): Promise<void> {
  for (const folder of [tmpdir(), MEMORY]) {
    for (const name of await readdir(folder).catch(() => []))
      if (name.startsWith(PREFIX)) await clearLeftover(join(folder, name)).catch(() => {})
  }
}

async function clearLeftover(dataDir: string): Promise<void> {
  // A younger one may belong to a run that is just starting and has no lease yet.
  if ((await stat(dataDir)).mtimeMs > Date.now() - 60_000) return
  const layout = await findLayout(dataDir)
  if (layout === undefined) return rm(dataDir, { recursive: true, force: true })
  await withLock(layout.lock, async () => {
    if ((await countLeases(layout.leases)) > 0) return
    await clearRemains(layout, createLogger('silent'))
    await rm(layout.data, { recursive: true, force: true })
  })
  if ((await countLeases(layout.leases)) === 0) await rm(dataDir, { recursive: true, force: true })
}
