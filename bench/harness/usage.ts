import { readdirSync, readFileSync } from 'node:fs'

/** What a process has used so far. Read from /proc, so Linux only; elsewhere the columns stay empty. */
export interface Usage {
  /** User and system time. Linux counts it in steps of 10 ms. */
  readonly cpuMs: number
  readonly rssBytes: number
}

interface Stat {
  readonly parent: number
  readonly ownTicks: number
  readonly childTicks: number
  readonly rssPages: number
}

/** USER_HZ and the page size are 100 and 4096 on every Linux that Node is built for, save some 64 KiB arm64 kernels. */
const TICK_MS = 10
const PAGE_BYTES = 4096

export function usageOf(pid: number): Usage | undefined {
  const stat = readStat(pid)
  if (stat === undefined) return undefined
  return { cpuMs: stat.ownTicks * TICK_MS, rssBytes: stat.rssPages * PAGE_BYTES }
}

/** CPU of a process, its living children, and those it has already reaped: a postmaster and its backends. */
export function familyCpuMs(pid: number): number | undefined {
  for (let before = readStat(pid); before !== undefined; ) {
    let ticks = before.ownTicks + before.childTicks
    for (const name of readdirSync('/proc')) {
      const stat = /^\d+$/.test(name) ? readStat(Number(name)) : undefined
      if (stat?.parent === pid) ticks += stat.ownTicks + stat.childTicks
    }
    const after = readStat(pid)
    // A child reaped while the others were read would be in neither sum, and a busy backend is missed by seconds.
    if (after === undefined || after.childTicks === before.childTicks) return ticks * TICK_MS
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
      ownTicks: field(14) + field(15),
      childTicks: field(16) + field(17),
      rssPages: field(24),
    }
  } catch {
    return undefined
  }
}
