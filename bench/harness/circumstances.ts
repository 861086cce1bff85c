import { execFileSync } from 'node:child_process'
import { arch, cpus, loadavg, platform, release, totalmem } from 'node:os'
import type { Circumstances } from '../report/results.ts'
import { root } from './build.ts'

/** Where a part is measured: all but how long it takes and what Postgres it meets. */
export function circumstances(
  command: string,
): Pick<Circumstances, 'at' | 'commit' | 'command' | 'machine' | 'node' | 'loadBefore'> {
  const model = cpus()[0]?.model.trim() || 'CPU of unknown model'
  return {
    at: new Date().toISOString(),
    commit: commit(),
    command,
    machine: `${cpus().length} × ${model}, ${Math.round(totalmem() / 2 ** 30)} GiB, ${platform()} ${release().split('-')[0]} ${arch()}, loopback only`,
    node: process.versions.node,
    loadBefore: loadavg()[0] ?? Number.NaN,
  }
}

function commit(): string {
  try {
    const git = (...args: string[]) => execFileSync('git', args, { cwd: root, encoding: 'utf8' }).trim()
    const changed = git('status', '--porcelain', 'src', 'bench', 'migrations', ':!bench/results') !== ''
    return `${git('rev-parse', '--short', 'HEAD')}${changed ? ' with changes' : ''}`
  } catch {
    return 'unknown'
  }
}
