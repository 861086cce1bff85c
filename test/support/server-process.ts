import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

/** What a process holds, as the kernel counts it (Linux). */
export class ServerProcess {
  readonly #pid: number

  constructor(pid: number | undefined) {
    if (pid === undefined) throw new Error('no process')
    this.#pid = pid
  }

  /** Sockets that are open: the server's end, whatever the test believes of its own. */
  get sockets(): number {
    let count = 0
    for (const fd of readdirSync(`/proc/${this.#pid}/fd`)) {
      try {
        if (readlinkSync(`/proc/${this.#pid}/fd/${fd}`).startsWith('socket:')) count += 1
      } catch {
        // Closed between the two calls.
      }
    }
    return count
  }

  /** Resident memory in MiB. */
  get residentMiB(): number {
    const [, kib] = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${this.#pid}/status`, 'utf8')) ?? []
    return Number(kib) / 1024
  }
}
