import { readdirSync, readFileSync } from 'node:fs'

/** What a process has used so far. Read from /proc, so Linux only; elsewhere the columns stay empty. */
export interface Usage {
  /** User and system time. */
  readonly cpuMs: number
  readonly rssBytes: number
}

interface Stat {
  readonly parent: number
  /** Read only when asked for: of most processes nobody wants to know. */
  readonly cpuMs: () => number
  /** Of children that have ended and were waited for. */
  readonly reapedMs: number
  readonly rssBytes: number
}

/** USER_HZ and the page size are 100 and 4096 on every Linux that Node is built for, save some 64 KiB arm64 kernels. */
const TICK_MS = 10
const PAGE_BYTES = 4096

export function usageOf(pid: number): Usage | undefined {
  const stat = readStat(pid)
  if (stat === undefined) return undefined
  return { cpuMs: stat.cpuMs(), rssBytes: stat.rssBytes }
}

/** CPU of a process, its living children, and those it has already reaped: a postmaster and its backends. */
export function familyCpuMs(pid: number): number | undefined {
  for (let before = readStat(pid); before !== undefined; ) {
    let cpuMs = before.cpuMs() + before.reapedMs
    for (const name of readdirSync('/proc')) {
      const stat = /^\d+$/.test(name) ? readStat(Number(name)) : undefined
      if (stat?.parent === pid) cpuMs += stat.cpuMs() + stat.reapedMs
    }
    const after = readStat(pid)
    // A child reaped while the others were read would be in neither sum, and a busy backend is missed by seconds.
    if (after === undefined || after.reapedMs === before.reapedMs) return cpuMs
    before = after
  }
  return undefined
}

/** The parent of a process that runs the given program, else undefined: a pid from elsewhere must not be taken for ours. */
export function parentOf(pid: number, program: string): number | undefined {
  try {
    if (!readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes(program)) return undefined
  } catch {
    return undefined
  }
  return readStat(pid)?.parent
}

/** proc_pid_stat(5). The second field may hold spaces and brackets, so fields are counted from its last bracket. */
function readStat(pid: number): Stat | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    const field = (number: number) => Number(fields[number - 3])
    return {
      parent: field(4),
      cpuMs: () => scheduledMs(pid) ?? (field(14) + field(15)) * TICK_MS,
      reapedMs: (field(16) + field(17)) * TICK_MS,
      rssBytes: field(24) * PAGE_BYTES,
    }
  } catch {
    return undefined
  }
}

/** The scheduler's own count, in nanoseconds, of all threads; the other one goes in steps of 10 ms. Not every kernel keeps it. */
function scheduledMs(pid: number): number | undefined {
  try {
    const nanoseconds = readdirSync(`/proc/${pid}/task`).map((task) =>
      Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'latin1').split(' ')[0]),
    )
    const sum = nanoseconds.reduce((total, one) => total + one, 0)
    return sum > 0 ? sum / 1e6 : undefined
  } catch {
    return undefined
  }
}
