import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { StartError } from '../errors.ts'

/** Identifies one process. The pid is not enough, because it is used again, after a reboot even within seconds. */
export interface ProcessIdentity {
  readonly pid: number
  /** Opaque; it differs between two processes with the same pid. */
  readonly started: string
}

/** The process with this pid; undefined if there is none, or only a zombie. */
export async function identify(pid: number): Promise<ProcessIdentity | undefined> {
  if (process.platform === 'linux') return identifyByProc(pid)
  if (process.platform === 'win32') return exists(pid) ? { pid, started: '' } : undefined
  return identifyByPs(pid)
}

export async function identifySelf(): Promise<ProcessIdentity> {
  const self = await identify(process.pid)
  if (self === undefined) throw new StartError('embedded Postgres needs /proc or ps to tell processes apart')
  return self
}

/** Parses the JSON of one; undefined if the file was not written completely. */
export function parseIdentity(text: string): ProcessIdentity | undefined {
  try {
    return JSON.parse(text) as ProcessIdentity
  } catch {
    return undefined
  }
}

export async function isAlive(identity: ProcessIdentity): Promise<boolean> {
  return (await identify(identity.pid))?.started === identity.started
}

async function identifyByProc(pid: number): Promise<ProcessIdentity | undefined> {
  const stat = await procStat(pid)
  if (stat === undefined || stat.state === 'Z' || stat.state === 'X') return undefined
  // The start time counts ticks since boot: without the boot id, it could be the same after a reboot.
  const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => '')
  return { pid, started: `${boot.trim()}/${stat.startTicks}` }
}

interface ProcStat {
  /** The program's file name, at most 15 bytes. */
  readonly command: string
  readonly state: string
  readonly startTicks: string
}

/** The fields of proc_pid_stat(5) that we use. Linux only. */
export async function procStat(pid: number): Promise<ProcStat | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined)
  if (text === undefined) return undefined
  // The command is in parentheses and may contain parentheses and spaces.
  const open = text.indexOf('(')
  const close = text.lastIndexOf(')')
  const rest = text.slice(close + 2).split(' ')
  return { command: text.slice(open + 1, close), state: rest[0] ?? '', startTicks: rest[19] ?? '' }
}

async function identifyByPs(pid: number): Promise<ProcessIdentity | undefined> {
  const { stdout } = await promisify(execFile)('ps', ['-o', 'stat=,lstart=', '-p', String(pid)]).catch(
    () => ({ stdout: '' }),
  )
  const [, state, started] = /^\s*(\S+)\s+(.*\S)\s*$/.exec(stdout) ?? []
  if (state === undefined || started === undefined || state.startsWith('Z')) return undefined
  return { pid, started }
}

/** Sends a signal to a process that may be gone. */
export function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
