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

  /**
   * Whether it still has its end of the connection that comes from this local port. What it has closed and the kernel
   * finishes has no inode.
   */
  holds(clientPort: number, serverPort: number): boolean {
    const at = (port: number) => `:${port.toString(16).toUpperCase().padStart(4, '0')}`
    const lines = readFileSync(`/proc/${this.#pid}/net/tcp`, 'utf8').split('\n')
    return lines.some((line) => {
      const [, local = '', remote = '', , , , , , , inode = '0'] = line.trim().split(/\s+/)
      return local.endsWith(at(serverPort)) && remote.endsWith(at(clientPort)) && inode !== '0'
    })
  }

  /** Resident memory in MiB. */
  get residentMiB(): number {
    const [, kib] = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${this.#pid}/status`, 'utf8')) ?? []
    return Number(kib) / 1024
  }
}
