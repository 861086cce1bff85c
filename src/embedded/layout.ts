import { chown, realpath, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { StartError } from '../errors.ts'
import { makeFolder } from '../make-folder.ts'

/** The files in DATA_DIR/postgres. All paths are absolute and without links, as in /proc/<pid>/cwd. */
export interface Layout {
  /** DATA_DIR as the operator wrote it: the name to use in messages. */
  readonly dataDir: string
  readonly home: string
  /** The Postgres data directory. It appears complete, by a rename, or not at all. */
  readonly data: string
  /** Port and password, mode 0600: everything a client needs. */
  readonly connection: string
  readonly log: string
  readonly lock: string
  readonly leases: string
}

/** Creates DATA_DIR/postgres (mode 0700). Throws StartError if it cannot be written. */
export async function openLayout(dataDir: string): Promise<Layout> {
  try {
    await makeFolder(join(dataDir, 'postgres'), 0o700)
    const layout = layoutOf(dataDir, await realpath(join(dataDir, 'postgres')))
    await makeFolder(layout.lock, 0o700)
    await makeFolder(layout.leases, 0o700)
    return layout
  } catch (cause) {
    throw new StartError(`DATA_DIR ${dataDir} can't be used: ${(cause as Error).message}`, { cause })
  }
}

/** The same without creating anything; undefined if nothing exists yet. */
export async function findLayout(dataDir: string): Promise<Layout | undefined> {
  try {
    return layoutOf(dataDir, await realpath(join(dataDir, 'postgres')))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw new StartError(`DATA_DIR ${dataDir} can't be read: ${(error as Error).message}`, { cause: error })
  }
}

/**
 * Gives a file to the owner of the server's folder. Otherwise, after a start with sudo, the owner could not open it.
 */
export async function adopt(layout: Layout, path: string): Promise<void> {
  if (process.getuid?.() !== 0) return
  const { uid, gid } = await stat(layout.home)
  await chown(path, uid, gid)
}

function layoutOf(dataDir: string, home: string): Layout {
  return {
    dataDir,
    home,
    data: join(home, 'data'),
    connection: join(home, 'connection.json'),
    log: join(home, 'server.log'),
    lock: join(home, 'lock'),
    leases: join(home, 'leases'),
  }
}
