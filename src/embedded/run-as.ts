import { spawnSync } from 'node:child_process'
import { chmodSync, chownSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { StartError } from '../errors.ts'
import { type Account, type NamedAccount, readAccounts } from './accounts.ts'
import type { Layout } from './layout.ts'

/** How to start a Postgres program as an ordinary user with a name, which it requires. */
export interface RunAs {
  /** Words before the program and its arguments. */
  readonly prefix: readonly string[]
  /** The account to switch to, which then owns the server's files. */
  readonly account?: Account
}

/** LC_ALL: a locale that exists everywhere (without it Postgres refuses to start on some Macs), and messages we can read. */
export const ENVIRONMENT =
  process.platform === 'win32'
    ? undefined
    : { PATH: '/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin', LC_ALL: 'C' }

/**
 * Finds a way in this order: as the present user; in a user namespace, where files stay ours, so that it also works under a
 * home of mode 0700; as the owner of the data, or of the folder with DATA_DIR; as `postgres` or `nobody`. Each way is tried
 * before it is chosen. Throws StartError if none works.
 */
export function chooseRunAs(postgres: string, layout: Layout): RunAs {
  const uid = process.getuid?.()
  if (uid === undefined) return { prefix: [] }
  const accounts = readAccounts()
  // macOS does not keep its users in /etc/passwd; there every ordinary user has a name.
  const hasName = process.platform !== 'linux' || accounts.some((account) => account.uid === uid)
  const ways = uid !== 0 && hasName ? [{ prefix: [] }] : otherWays(accounts, layout, uid === 0)

  const reasons: string[] = []
  for (const way of ways) {
    const reason = tryOut(postgres, layout, way)
    if (reason === undefined) return way
    reasons.push(reason)
  }
  const who = uid === 0 ? 'as root' : hasName ? 'here' : `as uid ${uid}, which has no name`
  throw new StartError(
    `DATA_DIR ${layout.dataDir}: embedded Postgres can't run ${who} (${reasons.join('; ')}); start Glimpse as an ordinary user who owns that folder, or set DATABASE_URL`,
  )
}

/** Command and arguments for spawn, to be used with the account of the way. */
export function commandLine(way: RunAs, program: string, args: readonly string[]): [string, string[]] {
  const [command = program, ...rest] = [...way.prefix, program, ...args]
  return [command, rest]
}

/** Gives a path to the account the server runs as, so that it can write there. */
export function handOver(way: RunAs, path: string): void {
  if (way.account !== undefined) chownSync(path, way.account.uid, way.account.gid)
}

function otherWays(accounts: readonly NamedAccount[], layout: Layout, root: boolean): RunAs[] {
  const ways: RunAs[] = []
  const named = accounts.find((account) => account.uid > 0)
  if (process.platform === 'linux' && named !== undefined) {
    // initdb looks its user up by number, so the number inside the namespace must be one that has a name.
    const map = [`--map-user=${named.uid}`, `--map-group=${named.gid}`]
    ways.push({ prefix: ['unshare', '--user', ...map, '--'] })
  }
  if (!root) return ways
  const owners = [ownerOf(layout.data), ownerOf(dirname(dirname(layout.home)))]
  const candidates = [
    ...owners.map((owner) => accounts.find((account) => account.uid === owner)),
    ...['postgres', 'nobody'].map((name) => accounts.find((account) => account.name === name)),
  ]
  for (const account of new Set(candidates)) {
    if (account !== undefined && account.uid > 0) ways.push({ prefix: [], account })
  }
  return ways
}

/** Undefined if this way can run the server's programs and write to its folder; else the reason why not. */
function tryOut(postgres: string, layout: Layout, way: RunAs): string | undefined {
  const owner = ownerOf(layout.data)
  if (way.account !== undefined) {
    if (owner !== undefined && owner !== way.account.uid)
      return `uid ${way.account.uid} does not own the data`
    openTo(way.account, layout)
  }
  const script = '"$0" --version && { test -w "$1" -a -x "$1" || { echo "no access to $1" >&2; exit 1; }; }'
  const [command, args] = commandLine(way, '/bin/sh', ['-c', script, postgres, layout.home])
  const { status, error, stderr } = spawnSync(command, args, {
    env: ENVIRONMENT,
    cwd: '/',
    encoding: 'utf8',
    ...way.account,
  })
  if (status === 0) return undefined
  const who = way.account === undefined ? '' : `uid ${way.account.uid}: `
  return who + (error?.message ?? stderr.trim().split('\n').at(-1))
}

/** Makes the account the owner of the server's folder. It may pass through DATA_DIR but not list it, because of the development secret. */
function openTo(account: Account, layout: Layout): void {
  for (const path of [layout.home, layout.lock, layout.leases]) chownSync(path, account.uid, account.gid)
  const dataDir = dirname(layout.home)
  const { mode, uid } = statSync(dataDir)
  if (uid !== account.uid) chmodSync(dataDir, (mode & 0o777) | 0o011)
}

function ownerOf(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.uid
}
