import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

/** The last commit of version 0.1. */
const COMMIT = '3c56f943dd967e530c539fc47a9da89abf5fddb3'

export interface OldVersion {
  /** Its folder, with `dist/main.js` and `dist/cli/main.js`. */
  readonly root: string
  remove(): void
}

/** Whether this checkout has the history that 0.1 is built from: one without it, or a shallow one, has not. */
export function hasVersion01(): boolean {
  return spawnSync('git', ['cat-file', '-e', `${COMMIT}^{commit}`], { cwd: ROOT }).status === 0
}

/** Builds version 0.1 from the history, with the dependencies of this checkout, into a folder of its own. */
export function buildVersion01(): OldVersion {
  const root = mkdtempSync(join(tmpdir(), 'glimpse-0.1-'))
  const remove = () => rmSync(root, { recursive: true, force: true })
  try {
    const archive = spawnSync(
      'git',
      ['archive', COMMIT, 'src', 'migrations', 'package.json', 'tsconfig.json', 'tsconfig.build.json'],
      {
        cwd: ROOT,
        maxBuffer: 64 * 2 ** 20,
      },
    )
    succeeded('git archive', archive)
    succeeded('tar', spawnSync('tar', ['-x', '-C', root], { input: archive.stdout }))
    symlinkSync(join(ROOT, 'node_modules'), join(root, 'node_modules'))
    // Its types were checked when it was released; those of its dependencies have moved on since.
    const tsc = ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json', '--noCheck']
    succeeded('tsc', spawnSync(process.execPath, tsc, { cwd: root }))
    return { root, remove }
  } catch (error) {
    remove()
    throw error
  }
}

function succeeded(name: string, { status, stderr, error }: ReturnType<typeof spawnSync>): void {
  if (status !== 0) throw new Error(`${name} failed: ${error?.message ?? stderr}`)
}
