import { readFileSync } from 'node:fs'

export interface Account {
  readonly uid: number
  readonly gid: number
}

export interface NamedAccount extends Account {
  readonly name: string
}

/** The accounts of this machine, from the list that every Unix has; the first of several with one uid counts. */
export function readAccounts(): readonly NamedAccount[] {
  const accounts = new Map<number, NamedAccount>()
  for (const line of readFileSync('/etc/passwd', 'utf8').split('\n')) {
    const [name = '', , uid, gid] = line.split(':')
    if (uid === undefined || gid === undefined || accounts.has(Number(uid))) continue
    accounts.set(Number(uid), { name, uid: Number(uid), gid: Number(gid) })
  }
  return [...accounts.values()]
}
