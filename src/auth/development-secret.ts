import { randomBytes } from 'node:crypto'
import { link, open, readFile, rm } from 'node:fs/promises'
import { resolve } from 'node:path'
import { StartError } from '../errors.ts'
import { makeFolder } from '../make-folder.ts'
import { SECRET_MIN_BYTES } from './key-source.ts'

/**
 * The secret used if none is configured: the text of `<dataDir>/jwt-secret`, created on first use (mode 0600) and kept, so
 * that tokens outlive a restart and other processes with the same folder agree. It works as `JWT_SECRET` too. Throws
 * StartError if the file can neither be read nor created, or holds fewer than 32 bytes.
 */
export async function developmentSecret(dataDir: string): Promise<string> {
  const path = pathIn(dataDir)
  try {
    return checked(path, (await read(path)) ?? (await make(dataDir, path)))
  } catch (cause) {
    if (cause instanceof StartError) throw cause
    const reason = cause instanceof Error ? cause.message : cause
    throw new StartError(`the development secret ${path} can be neither read nor made: ${reason}`, { cause })
  }
}

/**
 * The same for a program that only calls the service. It never creates a secret, because the service would not know it.
 *
 * @throws StartError where there is none, or it can't be read
 */
export async function existingDevelopmentSecret(dataDir: string): Promise<string> {
  const path = pathIn(dataDir)
  const secret = await read(path).catch((cause: Error) => {
    throw new StartError(`the development secret ${path} can't be read: ${cause.message}`, { cause })
  })
  if (secret !== undefined) return checked(path, secret)
  throw new StartError(
    `JWT_SECRET is not set, and there is no development secret ${path}. Run this in the folder of the service, ` +
      'set DATA_DIR or JWT_SECRET as the service has it, or give a token with --token or GLIMPSE_TOKEN',
  )
}

/** Absolute, so that a message says where it was looked for. */
function pathIn(dataDir: string): string {
  return resolve(dataDir, 'jwt-secret')
}

function checked(path: string, secret: string): string {
  if (Buffer.byteLength(secret) >= SECRET_MIN_BYTES) return secret
  throw new StartError(
    `${path} must hold at least ${SECRET_MIN_BYTES} bytes; delete it, and the service makes a new one when it starts`,
  )
}

async function read(path: string): Promise<string | undefined> {
  try {
    // Without the line end that an editor adds, like `$(cat jwt-secret)`.
    return (await readFile(path, 'utf8')).replace(/[\r\n]+$/, '')
  } catch (error) {
    if (isCode(error, 'ENOENT')) return undefined
    throw error
  }
}

/** Writes it under another name first, so that a second process that starts meanwhile never reads half a secret. */
async function make(dataDir: string, path: string): Promise<string> {
  const secret = randomBytes(32).toString('base64url')
  const draft = `${path}.${randomBytes(8).toString('hex')}`
  await makeFolder(dataDir, 0o700)
  try {
    const file = await open(draft, 'wx', 0o600)
    try {
      await file.writeFile(secret)
      await file.sync()
    } finally {
      await file.close()
    }
    // Unlike a rename, a link fails if the name is taken: one of several processes wins, and all use its secret.
    await link(draft, path)
    return secret
  } catch (error) {
    const theirs = isCode(error, 'EEXIST') ? await read(path) : undefined
    if (theirs === undefined) throw error
    return theirs
  } finally {
    await rm(draft, { force: true })
  }
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}
