import { closeSync, openSync, readSync } from 'node:fs'

/** The variables for secrets. Each may also be given as NAME_FILE, a file that contains the value. */
export const SECRETS = [
  'DATABASE_URL',
  'LISTEN_DATABASE_URL',
  'JWT_SECRET',
  'JWT_SECRET_PREVIOUS',
  'BUS_URL',
] as const

/** The secrets of .env.example and the docs, which everybody can read. */
export const SAMPLE_SECRETS: ReadonlySet<string> = new Set([
  'at-least-32-bytes-of-your-own-secret',
  'the-secret-before-it-of-32-bytes-or-more',
])
export const SAMPLE_PASSWORDS: ReadonlySet<string> = new Set(['secret', 'password'])

/** More than any secret needs: a path to a wrong file, or to /dev/zero, must not fill the memory. */
const MAX_BYTES = 65_536

type Variables = Readonly<Record<string, string | undefined>>

export interface WithSecrets {
  /** The environment, with the contents of the files under the plain names. */
  readonly environment: Variables
  /** The plain names of the variables that are given as files, readable or not. */
  readonly fromFile: ReadonlySet<string>
  /** Each as `NAME: what is wrong`, without values and paths. */
  readonly problems: readonly string[]
}

/**
 * Reads the files of NAME_FILE variables, the form in which Docker, Kubernetes and systemd provide secrets. Line ends at the
 * end of a file are dropped, because editors and `echo` add one. An empty variable counts as unset.
 */
export function readSecretFiles(variables: Variables): WithSecrets {
  const environment = { ...variables }
  const fromFile = new Set<string>()
  const problems: string[] = []
  for (const name of SECRETS) {
    const path = variables[`${name}_FILE`]
    if (path === undefined || path === '') continue
    if ((variables[name] ?? '') !== '') {
      problems.push(`${name}, ${name}_FILE: set one of the two, not both`)
      continue
    }
    fromFile.add(name)
    try {
      environment[name] = readSecret(path)
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException
      problems.push(`${name}_FILE: ${code === undefined ? message : `the file cannot be read (${code})`}`)
    }
  }
  return { environment, fromFile, problems }
}

export function readSecret(path: string): string {
  const bytes = Buffer.alloc(MAX_BYTES + 1)
  const file = openSync(path, 'r')
  let length = 0
  try {
    // In a loop, because a pipe returns no more at once than was written to it.
    for (let read = -1; read !== 0 && length <= MAX_BYTES; length += read)
      read = readSync(file, bytes, length, bytes.length - length, null)
  } finally {
    closeSync(file)
  }
  if (length > MAX_BYTES) throw new Error(`the file must hold ${MAX_BYTES} bytes at most`)
  const text = decode(bytes.subarray(0, length)).replace(/[\r\n]+$/, '')
  if (text === '') throw new Error('the file is empty')
  return text
}

function decode(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    // Lenient decoding would give another secret than the issuer's, and every token would be refused.
    throw new Error('the file must hold text in UTF-8; encode random bytes in base64 or hex')
  }
}
