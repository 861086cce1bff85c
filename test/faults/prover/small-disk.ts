import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmdirSync } from 'node:fs'
import { chown, mkdir, mkdtemp, open, rename, rm, rmdir, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { PostgresServer } from './postgres-server.ts'

/** Why no file system can be mounted here; undefined where one can. */
export function whyNoMount(): string | undefined {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'only root can mount a small disk'
  const place = mkdtempSync(join(tmpdir(), 'glimpse-mount-'))
  try {
    mount(place, 1)
    unmount(place)
    return undefined
  } catch (error) {
    return `mounting is not allowed here: ${(error as Error).message}`
  } finally {
    rmdirSync(place)
  }
}

/** A disk of its own for a server's data folder, or for logs, small enough to be filled in a moment. */
export class SmallDisk {
  readonly #folder: string
  readonly #ballast: string

  private constructor(folder: string) {
    this.#folder = folder
    this.#ballast = join(folder, 'ballast')
  }

  /** An empty disk. */
  static async create(megabytes: number): Promise<SmallDisk> {
    const folder = await mkdtemp(join(tmpdir(), 'glimpse-disk-'))
    mount(folder, megabytes)
    return new SmallDisk(folder)
  }

  /** Where it is mounted. */
  get folder(): string {
    return this.#folder
  }

  /** Moves the data folder of a stopped server. */
  static async under({ dataFolder }: PostgresServer, megabytes: number): Promise<SmallDisk> {
    const { uid, gid } = await stat(dataFolder)
    await rename(dataFolder, aside(dataFolder))
    await mkdir(dataFolder, { mode: 0o700 })
    mount(dataFolder, megabytes)
    await chown(dataFolder, uid, gid)
    copy(aside(dataFolder), dataFolder)
    return new SmallDisk(dataFolder)
  }

  /** Takes all the space that is left; again and again, because Postgres now and then lets go of a file. */
  async fill(): Promise<void> {
    const file = await open(this.#ballast, 'a', 0o600)
    try {
      for (let bytes = 1 << 20; bytes >= 1 << 12; ) {
        await file.appendFile(Buffer.alloc(bytes)).catch((error: NodeJS.ErrnoException) => {
          if (error.code !== 'ENOSPC') throw error
          bytes >>= 1
        })
      }
    } finally {
      await file.close()
    }
  }

  /** Gives the space back. */
  async free(): Promise<void> {
    await rm(this.#ballast, { force: true })
  }

  /** Throws away a disk that was created empty; its files need not be closed. */
  async discard(): Promise<void> {
    run('umount', ['--lazy', this.#folder])
    await rmdir(this.#folder)
  }

  /** Moves the data folder of a stopped server back. */
  async remove(): Promise<void> {
    await this.free()
    const folder = this.#folder
    await rm(aside(folder), { recursive: true })
    copy(folder, aside(folder))
    unmount(folder)
    await rmdir(folder)
    await rename(aside(folder), folder)
  }
}

function aside(folder: string): string {
  return `${folder}-aside`
}

/** With owners and modes, which the copying of Node leaves behind. */
function copy(from: string, to: string): void {
  run('cp', ['-a', '-T', from, to])
}

function mount(place: string, megabytes: number): void {
  run('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m,mode=0700`, 'tmpfs', place])
}

function unmount(place: string): void {
  run('umount', [place])
}

function run(command: string, args: readonly string[]): void {
  const { status, error, stderr } = spawnSync(command, args, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${command}: ${error?.message ?? stderr.trim()}`)
}
