import { execFile } from 'node:child_process'
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Edit } from './plants.ts'

const ROOT = fileURLToPath(new URL('../../..', import.meta.url))

/** A copy of the service, to run instances from. */
export interface Build {
  /** The copy's `dist/main.js`. */
  readonly main: string
  remove(): Promise<void>
}

/**
 * Copies the service. Where bugs are to be planted, they are written into a copy of its source, which is compiled as
 * dist/ was. The service itself has no switch for them, so what is proven is what ships.
 * @throws where an edit's text isn't in the source exactly once, or where the source doesn't compile with it: a bug that
 * is no longer planted is found by nobody, and one that ends the process at once is found by everybody
 * @param checked whether types are checked, which takes most of the time; without it only what can't be parsed throws
 */
export async function copyBuild(edits: readonly Edit[] = [], { checked = true } = {}): Promise<Build> {
  const folder = await mkdtemp(join(tmpdir(), 'glimpse-build-'))
  const remove = () => rm(folder, { recursive: true, force: true })
  try {
    for (const name of ['dist', 'migrations', 'src'])
      await cp(join(ROOT, name), join(folder, name), { recursive: true })
    for (const name of ['node_modules', 'package.json', 'tsconfig.json', 'tsconfig.build.json'])
      await symlink(join(ROOT, name), join(folder, name))
    if (edits.length > 0) {
      for (const [file, text] of await withEdits(edits)) await writeFile(join(folder, file), text)
      await compile(folder, checked)
    }
    return { main: join(folder, 'dist', 'main.js'), remove }
  } catch (error) {
    await remove()
    throw error
  }
}

/**
 * The changed texts of the files that the edits concern, by file.
 * @throws where an edit's place isn't there exactly once
 */
export async function withEdits(edits: readonly Edit[]): Promise<Map<string, string>> {
  const texts = new Map<string, string>()
  for (const { file, find, put } of edits) {
    const parts = (texts.get(file) ?? (await readFile(join(ROOT, file), 'utf8'))).split(find)
    if (parts.length !== 2)
      throw new Error(`planting in ${file}: expected exactly once, found ${parts.length - 1} times: ${find}`)
    texts.set(file, parts.join(put))
  }
  return texts
}

async function compile(folder: string, checked: boolean): Promise<void> {
  const typescript = createRequire(import.meta.url).resolve('typescript/package.json')
  const tsc = join(dirname(typescript), 'bin', 'tsc')
  try {
    const options = checked ? [] : ['--noCheck', '--declaration', 'false', '--sourceMap', 'false']
    await promisify(execFile)(process.execPath, [tsc, '-p', 'tsconfig.build.json', ...options], {
      cwd: folder,
    })
  } catch (error) {
    throw new Error(`a planted bug does not compile:\n${(error as { stdout?: string }).stdout ?? error}`)
  }
}
