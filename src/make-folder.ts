import { mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'

/**
 * Makes a folder with those above it, like `mkdir -p`; one that is there already is fine. Node's own `recursive` spins for
 * ever where a file system says ENOENT of a folder whose parent exists, as /proc does.
 *
 * @throws NodeJS.ErrnoException where it can't be made
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
    // Whether it is a folder, whoever uses it finds out.
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
}
