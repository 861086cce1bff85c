import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readlinkSync, writeFileSync } from 'node:fs'
import { chmod, mkdir, readdir, rm, stat } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Home } from '../support/embedded/home.ts'
import { answers } from '../support/embedded/server.ts'

const NOBODY = { uid: 65_534, gid: 65_534 }
const NAMELESS = { uid: 54_321, gid: 54_321 }

/** Other accounts can only be played by root; an ordinary user's own way is what every other test then takes. */
const root =
  process.platform === 'linux' &&
  process.getuid?.() === 0 &&
  spawnSync(process.execPath, ['--version'], NOBODY).status === 0
const namespaces = root && spawnSync('unshare', ['--user', 'true']).status === 0

describe.skipIf(!root)('started by (needs root)', () => {
  test('an ordinary user in a home of mode 0700', async () => {
    await withHome(NOBODY, async (home) => {
      const holder = await home.start('data')
      expect(await answers(holder.url)).toBe(true)
      expect((await stat(join(home.folder('data'), 'postgres', 'data'))).uid).toBe(NOBODY.uid)
      await holder.release()
    })
  })

  test('an ordinary user and once by root: both share, and root leaves nothing that locks the user out', async () => {
    await withHome(NOBODY, async (home) => {
      const user = await home.start('data')
      const sudo = await home.start('data', { account: { uid: 0, gid: 0 } })
      expect(sudo.url).toBe(user.url)
      await user.release()
      await sudo.release()

      // With the port taken, root writes the connection's file anew.
      const squatter = createServer().listen(Number(new URL(user.url).port), '127.0.0.1')
      await once(squatter, 'listening')
      const moved = await home.start('data', { account: { uid: 0, gid: 0 } })
      await moved.release()
      const again = await home.start('data')
      expect(again.url).toBe(moved.url)
      await again.release()
      squatter.close()
    })
  })

  test.skipIf(!namespaces)('a uid without a name, as containers have them', async () => {
    await withHome(NAMELESS, async (home) => {
      const holder = await home.start('data')
      expect(await answers(holder.url)).toBe(true)
      await holder.release()
    })
  })

  test('a user who may not mend the package: one line says so', async () => {
    await withHome(undefined, async (home) => {
      await chmod(home.path, 0o755)
      const lib = join(home.nativeFolder, 'lib')
      for (const entry of await readdir(lib, { withFileTypes: true })) {
        if (entry.isSymbolicLink()) await rm(join(lib, entry.name))
      }
      await expect(home.start('data', { account: NOBODY })).rejects.toThrow(
        /^StartError: embedded Postgres: \S+ is incomplete and cannot be repaired \(EACCES: .*DATABASE_URL$/,
      )
    })
  })

  test('a user who may not write to DATA_DIR: one line says so', async () => {
    await withHome(undefined, async (home) => {
      await chmod(home.path, 0o755)
      await expect(home.start('data', { account: NOBODY })).rejects.toThrow(
        /^StartError: DATA_DIR \S+data can't be used: EACCES: .*$/,
      )
    })
  })
})

describe.skipIf(!namespaces)(
  'root where user namespaces are refused, as in most containers (needs root)',
  () => {
    let home: Home
    let container: Container
    beforeAll(async () => {
      home = await Home.make()
      container = startContainer()
    })
    afterAll(async () => {
      container.close()
      await home.remove()
    })

    test('hands the server to an unprivileged account that can reach the folder', async () => {
      await chmod(home.path, 0o755)
      const holders = [await home.start('data', container), await home.start('data', container)]
      expect(holders.map(({ shared }) => shared)).toEqual([false, true])
      expect((await stat(join(home.folder('data'), 'postgres', 'data'))).uid).toBeGreaterThan(0)
      for (const holder of holders) await holder.release()
      expect(await answers(holders[0]?.url ?? '')).toBe(false)
      const again = await home.start('data', container)
      expect([again.shared, again.url]).toEqual([false, holders[0]?.url])
      await again.release()
    })

    test('says in one line what was tried where no account can reach it', async () => {
      await mkdir(home.folder('closed'), { mode: 0o700 })
      await expect(home.start('closed/data', container)).rejects.toThrow(
        /^StartError: DATA_DIR \S+ embedded Postgres can't run as root \(unshare: .*no access to .*DATABASE_URL$/,
      )
    })
  },
)

async function withHome(
  owner: { uid: number; gid: number } | undefined,
  work: (home: Home) => Promise<void>,
) {
  const home = await Home.make(owner)
  try {
    await work(home)
  } finally {
    await home.remove()
  }
}

interface Container {
  readonly within: readonly string[]
  close(): void
}

/**
 * A user namespace that allows no further one, with all accounts in it. `within` runs a command there as a root that
 * may not look into other accounts' processes: a container, as far as starting Postgres goes.
 */
function startContainer(): Container {
  const anchor = spawn('unshare', ['--user', 'sleep', '600'], { stdio: 'ignore' })
  const entering = [
    'nsenter',
    '--user',
    '--target',
    String(anchor.pid),
    'setpriv',
    '--reuid=0',
    '--regid=0',
    '--clear-groups',
  ]
  const ours = readlinkSync('/proc/self/ns/user')
  while (readlinkSync(`/proc/${anchor.pid}/ns/user`) === ours) spawnSync('sleep', ['0.01'])
  for (const map of ['uid_map', 'gid_map']) writeFileSync(`/proc/${anchor.pid}/${map}`, '0 0 65536\n')
  execFileSync('nsenter', [...entering.slice(1), 'sh', '-c', 'echo 0 >/proc/sys/user/max_user_namespaces'])
  return { within: [...entering, '--bounding-set=-sys_ptrace'], close: () => anchor.kill() }
}
