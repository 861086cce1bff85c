import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Edit } from './plants.ts'

const ROOT = fileURLToPath(new URL('../../..', import.meta.url))

/** A copy of the built service, to run instances from. */
export interface Build {
  /** The copy's `dist/main.js`. */
  readonly main: string
  remove(): Promise<void>
}

/**
 * Copies dist/ and migrations/ and plants bugs in the copy. The service itself has no switch for them, so what is
 * proven is what ships. An edit whose text isn't there exactly once is an error: the code has moved on, and a bug that
 * is no longer planted would be "found" by nobody.
 */
export async function copyBuild(edits: readonly Edit[] = []): Promise<Build> {
  const folder = await mkdtemp(join(tmpdir(), 'glimpse-build-'))
  const remove = () => rm(folder, { recursive: true, force: true })
  try {
    for (const name of ['dist', 'migrations'])
      await cp(join(ROOT, name), join(folder, name), { recursive: true })
    for (const name of ['node_modules', 'package.json', 'src'])
      await symlink(join(ROOT, name), join(folder, name))
    for (const edit of edits) await writeFile(join(folder, edit.file), await withEdit(edit, folder))
    return { main: join(folder, 'dist', 'main.js'), remove }
  } catch (error) {
    await remove()
    throw error
  }
}

/** A built file's text with the edit made. @throws where its place isn't there exactly once */
export async function withEdit({ file, find, put }: Edit, folder = ROOT): Promise<string> {
  const parts = (await readFile(join(folder, file), 'utf8')).split(find)
  if (parts.length !== 2)
    throw new Error(`planting in ${file}: expected exactly once, found ${parts.length - 1} times: ${find}`)
  return parts.join(put)
}
