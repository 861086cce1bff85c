import { randomBytes } from 'node:crypto'
import { link, mkdir, open, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { StartError } from '../errors.ts'
import { SECRET_MIN_BYTES } from './key-source.ts'

/**
 * The secret of a service that was given none: the text of `<dataDir>/jwt-secret`, made on first use (mode 0600) and
 * kept, so that tokens outlive a restart and other processes on the same folder agree. It works as `JWT_SECRET` too.
 * Throws StartError where the file can be neither read nor made, or holds fewer than 32 bytes.
 */
export async function developmentSecret(dataDir: string): Promise<string> {
  const path = join(dataDir, 'jwt-secret')
  try {
    const secret = (await read(path)) ?? (await make(dataDir, path))
    if (Buffer.byteLength(secret) >= SECRET_MIN_BYTES) return secret
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : cause
    throw new StartError(`the development secret ${path} can be neither read nor made: ${reason}`, { cause })
  }
  throw new StartError(
    `${path} must hold at least ${SECRET_MIN_BYTES} bytes; delete it and a new one is made`,
  )
}

async function read(path: string): Promise<string | undefined> {
  try {
    // Without the line end an editor adds, as `$(cat jwt-secret)` would give it.
    return (await readFile(path, 'utf8')).replace(/[\r\n]+$/, '')
  } catch (error) {
    if (isCode(error, 'ENOENT')) return undefined
    throw error
  }
}

/** Written whole under another name first: a second process that starts meanwhile must never read half a secret. */
async function make(dataDir: string, path: string): Promise<string> {
  const secret = randomBytes(32).toString('base64url')
  const draft = `${path}.${randomBytes(8).toString('hex')}`
  await mkdir(dataDir, { recursive: true, mode: 0o700 })
  try {
    const file = await open(draft, 'wx', 0o600)
    try {
      await file.writeFile(secret)
      await file.sync()
    } finally {
      await file.close()
    }
    // Fails where the name is taken, which a rename would not: of several processes one wins, all use its secret.
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
