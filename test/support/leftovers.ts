import { readdir, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { findLayout } from '../../src/embedded/layout.ts'
import { countLeases } from '../../src/embedded/leases.ts'
import { withLock } from '../../src/embedded/lock.ts'
import { clearRemains } from '../../src/embedded/recovery.ts'
import { createLogger } from '../../src/observability/log.ts'

/** What every test server's folder is called. */
export const PREFIX = 'glimpse-test-'

/** Ends the servers of test runs that were killed before they could, and removes their folders. */
export async function clearLeftovers(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    if (name.startsWith(PREFIX)) await clearLeftover(join(tmpdir(), name)).catch(() => {})
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
