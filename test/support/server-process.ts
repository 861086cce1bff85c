import { readFileSync } from 'node:fs'

/** What a process holds, as the kernel counts it (Linux). */
export class ServerProcess {
  readonly #pid: number

  constructor(pid: number | undefined) {
    if (pid === undefined) throw new Error('no process')
    this.#pid = pid
  }

  /**
   * The local ports of the clients whose connections to this port of the server's it has still open: its own end, whatever the
   * test believes of the other. What it has closed and the kernel finishes has no inode.
   */
  clientPorts(serverPort: number): number[] {
    const ports: number[] = []
    for (const line of readFileSync(`/proc/${this.#pid}/net/tcp`, 'utf8').split('\n')) {
      const [, local = '', remote = '', , , , , , , inode = '0'] = line.trim().split(/\s+/)
      const [at, from] = [local, remote].map((address) => Number.parseInt(address.split(':')[1] ?? '', 16))
      // Who listens has no other end.
      if (at === serverPort && from && inode !== '0') ports.push(from)
    }
    return ports
  }

  /** Resident memory in MiB. */
  get residentMiB(): number {
    const [, kib] = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${this.#pid}/status`, 'utf8')) ?? []
    return Number(kib) / 1024
  }
}
