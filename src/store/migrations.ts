import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The folder of the numbered SQL files. */
export const MIGRATIONS = fileURLToPath(new URL('../../migrations', import.meta.url))

/** A migration as a file of this version. */
export interface Migration {
  /** The file's name without `.sql`, as glimpse.migrations keeps it. */
  readonly name: string
  /** SHA-256 of its text, in hex. */
  readonly checksum: string
}

/** A row of glimpse.migrations. */
export interface AppliedMigration {
  readonly name: string
  /** Null if version 0.1 applied it, which recorded no checksums, or if it is not recorded yet. */
  readonly checksum: string | null
}

/** How a database's migrations compare with this version's files. */
export interface Comparison {
  /** To be applied, in order. */
  readonly pending: readonly string[]
  /** Applied without a checksum, by version 0.1 or by a process that ended before it recorded it. */
  readonly unrecorded: readonly Migration[]
  /** Applied by a newer version. */
  readonly unknown: readonly string[]
  /** Applied from a file with another text. */
  readonly changed: readonly string[]
}

/** Works with and without a column for checksums: a 0.1 database has none. */
export const SELECT_APPLIED = `select name, to_jsonb(m) ->> 'checksum' as checksum from glimpse.migrations m order by id`

/** The migrations that this version knows, in order. */
export async function readMigrations(directory = MIGRATIONS): Promise<Migration[]> {
  const files = (await readdir(directory)).filter((name) => name.endsWith('.sql')).sort()
  return Promise.all(
    files.map(async (file) => {
      const text = await readFile(join(directory, file), 'utf8')
      return { name: file.slice(0, -'.sql'.length), checksum: checksumOf(text) }
    }),
  )
}

/** The names of the migrations, in order. */
export async function migrationNames(): Promise<string[]> {
  return (await readMigrations()).map(({ name }) => name)
}

export function compareMigrations(
  known: readonly Migration[],
  applied: readonly AppliedMigration[],
): Comparison {
  const files = new Map(known.map(({ name, checksum }) => [name, checksum]))
  const names = new Set(applied.map(({ name }) => name))
  return {
    pending: known.filter(({ name }) => !names.has(name)).map(({ name }) => name),
    unrecorded: known.filter(({ name }) => applied.some((row) => row.name === name && row.checksum === null)),
    unknown: applied.filter(({ name }) => !files.has(name)).map(({ name }) => name),
    changed: applied
      .filter(({ name, checksum }) => checksum !== null && files.has(name) && files.get(name) !== checksum)
      .map(({ name }) => name),
  }
}

/** The message for the operator if a database does not fit this version; undefined if it fits, or will after migrating. */
export function refusalOf({ unknown, changed }: Comparison): string | undefined {
  if (unknown.length > 0)
    return `the database is ahead of this version: ${unknown.join(', ')}; run the version that applied them, or a newer one`
  if (changed.length > 0)
    return `applied migrations differ from the files of this version: ${changed.join(', ')}; a released migration is never edited, so install the release again`
  return undefined
}

/** Line ends are normalised, because a checkout on Windows may change them. */
function checksumOf(text: string): string {
  return createHash('sha256').update(text.replaceAll('\r\n', '\n')).digest('hex')
}
