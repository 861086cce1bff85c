import { execFile } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
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
  const require = createRequire(import.meta.url)
  const tsc = join(dirname(require.resolve('typescript/package.json')), 'bin', 'tsc')
  try {
    await promisify(execFile)(process.execPath, [tsc, '-p', project], { cwd: root })
  } catch (error) {
    const output = (error as { stdout?: string }).stdout ?? ''
    throw new Error(`tsc -p ${project} failed:\n${output.split('\n').slice(0, 10).join('\n')}`)
  }
}
