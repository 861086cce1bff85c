import { execFile, execFileSync } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { arch, cpus, loadavg, platform, release, totalmem } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

export const root = fileURLToPath(new URL('../../', import.meta.url))

/** Compiled peers and load generators live below node_modules, so that their own imports resolve as the service's do. */
const compiled = join(root, 'node_modules', '.cache', 'glimpse-bench')

/** The compiled file of a source below bench/: `peers/bare.ts` → the path of its JavaScript. */
export function compiledPath(source: string): string {
  return join(compiled, source.replace(/\.ts$/, '.js'))
}

export const servicePath = join(root, 'dist', 'main.js')
export const commandPath = join(root, 'dist', 'cli', 'main.js')

/**
 * Compiles the service, the peers and the load generators with the same compiler and settings. Nobody is measured
 * under a loader that rewrites functions as it goes, and nobody is measured as of yesterday.
 */
export async function build(): Promise<void> {
  await mkdir(compiled, { recursive: true })
  await writeFile(join(compiled, 'package.json'), '{"type":"module"}\n')
  await Promise.all([compile('tsconfig.build.json'), compile(join('bench', 'tsconfig.json'))])
}

async function compile(project: string): Promise<void> {
  const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
  try {
    await promisify(execFile)(process.execPath, [tsc, '-p', project], { cwd: root })
  } catch (error) {
    throw new Error(`tsc -p ${project} failed:\n${(error as { stdout: string }).stdout}`)
  }
}

/** Where a part is measured: all but how long it takes and what Postgres it meets. */
export function circumstances(args: readonly string[]) {
  const git = (...command: string[]) => execFileSync('git', command, { cwd: root, encoding: 'utf8' }).trim()
  const changes = git('status', '--porcelain', 'src', 'bench', 'migrations', ':!bench/results')
  return {
    at: new Date().toISOString(),
    commit: `${git('rev-parse', '--short', 'HEAD')}${changes === '' ? '' : ' with changes'}`,
    command: ['npm run bench', ...(args.length === 0 ? [] : ['--', ...args])].join(' '),
    machine: `${cpus().length} × ${cpus()[0]?.model.trim()}, ${Math.round(totalmem() / 2 ** 30)} GiB, ${platform()} ${release().split('-')[0]} ${arch()}, loopback only`,
    node: process.versions.node,
    loadBefore: loadavg()[0] ?? Number.NaN,
  }
}
