import { mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'

/**
 * Creates a folder and its parents, like `mkdir -p`. Node's own `recursive` loops for ever if a file system reports ENOENT for
 * a folder whose parent exists, as /proc does.
 *
 * @throws NodeJS.ErrnoException if it cannot be created
 */
export async function makeFolder(path: string, mode: number): Promise<void> {
  try {
    await makeOne(path, mode)
  } catch (error) {
    const parent = dirname(path)
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || parent === path) throw error
    await makeFolder(parent, mode)
    await makeOne(path, mode)
  }
}

async function makeOne(path: string, mode: number): Promise<void> {
  try {
    await mkdir(path, { mode })
  } catch (error) {
    // If it is no folder, using it fails.
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
}
