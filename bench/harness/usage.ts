import { readdirSync, readFileSync } from 'node:fs'

/** USER_HZ and the page size are 100 and 4096 on every Linux that Node is built for, save some 64 KiB arm64 kernels. */
const TICK_MS = 10
const PAGE_BYTES = 4096

/** User and system time of processes so far. Read from /proc, so Linux only; NaN elsewhere, and where one is not there. */
export function cpuMsOf(...pids: readonly number[]): number {
  return pids.reduce((sum, pid) => sum + readStat(pid).cpuMs(), 0)
}

/** Resident memory. */
export function rssBytesOf(pid: number): number {
  return readStat(pid).rssBytes
}

/** CPU of a process, its living children, and those it has already reaped: a postmaster and its backends. */
export function familyCpuMs(pid: number): number {
  const head = readStat(pid)
  if (Number.isNaN(head.parent)) return Number.NaN
  let cpuMs = head.cpuMs() + head.reapedMs
  for (const name of readdirSync('/proc').filter((one) => /^\d+$/.test(one))) {
    const stat = readStat(Number(name))
    if (stat.parent === pid) cpuMs += stat.cpuMs() + stat.reapedMs
  }
  // A child reaped while the others were read would be in neither sum, and a busy backend is missed by seconds.
  return readStat(pid).reapedMs === head.reapedMs ? cpuMs : familyCpuMs(pid)
}

/** The process that started this one. */
export function parentOf(pid: number): number {
  return readStat(pid).parent
}

/**
 * proc_pid_stat(5), NaN for a process that is not there. The second field may hold spaces and brackets, so fields are
 * counted from its last bracket.
 */
function readStat(pid: number) {
  const text = read(`/proc/${pid}/stat`)
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  const field = (number: number) => Number(fields[number - 3] ?? Number.NaN)
  return {
    parent: field(4),
    /** Read only when asked for: of most processes nobody wants to know. */
    cpuMs: () => scheduledMs(pid) ?? (field(14) + field(15)) * TICK_MS,
    /** Of children that have ended and were waited for. */
    reapedMs: (field(16) + field(17)) * TICK_MS,
    rssBytes: field(24) * PAGE_BYTES,
  }
}

/** The scheduler's own count, in nanoseconds, of all threads; the other one goes in steps of 10 ms. Not every kernel keeps it. */
function scheduledMs(pid: number): number | undefined {
  try {
    const tasks = readdirSync(`/proc/${pid}/task`).map((task) => read(`/proc/${pid}/task/${task}/schedstat`))
    const sum = tasks.reduce((total, task) => total + Number(task.split(' ')[0] || Number.NaN), 0)
    return sum > 0 ? sum / 1e6 : undefined
  } catch {
    return undefined
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    return ''
  }
}
