import { access, mkdir, mkdtemp } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A peer that is not installed here: said, and left out. */
export class Absent extends Error {}

/** Where Debian and others put it; a user's PATH often lacks the sbin folders. */
const BINARIES = ['/usr/sbin', '/usr/bin', '/usr/local/sbin', '/usr/local/bin', '/opt/homebrew/bin']

/** The path of an installed program, or of another file where the folders are given; undefined where there is none. */
export async function findInstalled(
  name: string,
  folders: readonly string[] = BINARIES,
): Promise<string | undefined> {
  for (const folder of folders) {
    const path = join(folder, name)
    if (await exists(path)) return path
  }
  return undefined
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}

/** A new folder below the temporary one, with an empty logs/ in it. */
export async function workFolder(name: string): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), `glimpse-bench-${name}-`))
  await mkdir(join(directory, 'logs'))
  return directory
}

/** A port of the loopback that nobody listens on now. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      server.close(() => resolve(port))
    })
  })
}
