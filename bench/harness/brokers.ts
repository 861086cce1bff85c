import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { stablePort } from '../../test/faults/prover/ports.ts'
import type { Run } from '../run.ts'
import { startPeer, workerFeed } from './contenders.ts'
import { type Server, startProgram } from './server.ts'

/** Where Debian and others put programs, since a user's PATH often lacks the sbin folders, and nginx' modules. */
const FOLDERS =
  '/usr/sbin /usr/bin /usr/local/sbin /usr/local/bin /opt/homebrew/bin /usr/lib/nginx/modules /usr/share/nginx/modules /usr/lib64/nginx/modules'

/** The path of an installed file; throws with the Debian packages that would bring it. */
function findInstalled(name: string, packages: string): string {
  const paths = FOLDERS.split(' ').map((folder) => join(folder, name))
  const path = paths.find(existsSync)
  if (path === undefined) throw new Error(`${name} is not installed (Debian: ${packages})`)
  return path
}

/** A new folder with the peer's configuration files, made from those in bench/peers. */
async function configured(files: readonly string[], values: Readonly<Record<string, string | number>>) {
  const folder = await mkdtemp(join(tmpdir(), 'glimpse-bench-peer-'))
  await mkdir(join(folder, 'logs'))
  const all: typeof values = { ...values, folder }
  for (const file of files) {
    const text = await readFile(new URL(`../peers/${file}`, import.meta.url), 'utf8')
    const filled = text.replaceAll(/@(\w+)@/g, (_, name: string) => String(all[name]))
    await writeFile(join(folder, file), filled)
  }
  return { folder, clean: () => rm(folder, { recursive: true, force: true }) }
}

/** A NATS server of its own. */
export async function startNats(run: Run): Promise<Server> {
  const [program, port] = [findInstalled('nats-server', 'nats-server'), await stablePort()]
  const command = [program, '-a', '127.0.0.1', '-p', `${port}`] as const
  return { ...(await startProgram(run, { command, port })), url: `nats://127.0.0.1:${port}` }
}

/** nginx with Nchan: one worker process, as every contender has one process to deliver with. */
export async function startNchan(run: Run) {
  const packages = 'nginx libnginx-mod-nchan'
  const nginx = findInstalled('nginx', packages)
  const module = findInstalled('ngx_nchan_module.so', packages)
  const port = await stablePort()
  const values = { module, port, user: userInfo().username }
  const { folder, clean } = await configured(['nchan.conf'], values)
  const [config, log] = [join(folder, 'nchan.conf'), join(folder, 'error.log')]
  const command = [nginx, '-p', folder, '-c', config, '-e', log] as const
  const server = await startProgram(run, { command, port, clean })
  return { ...server, feed: workerFeed(run, 'nchan', server.url) }
}

/** Pushpin in front of an origin that holds every stream open on its user's channel (GRIP). */
export async function startPushpin(run: Run) {
  const packages = 'pushpin, which brings zurl'
  const [pushpin, zurl] = [findInstalled('pushpin', packages), findInstalled('zurl', packages)]
  const origin = await startPeer(run, 'streams', 'pushpin-origin')
  const ports = Array.from({ length: 5 }, stablePort)
  const [port = 0, control = 0, pull = 0, sub = 0, command = 0] = await Promise.all(ports)
  const values = { port, control, pull, sub, command }
  const { folder, clean } = await configured(['pushpin.conf', 'zurl.conf'], values)
  await writeFile(join(folder, 'routes'), `* ${new URL(origin.url).host}\n`)
  const config = (name: string) => `--config=${join(folder, name)}`
  await startProgram(run, { command: [zurl, config('zurl.conf')] })
  const server = await startProgram(run, { command: [pushpin, config('pushpin.conf')], port, clean })
  return { ...server, feed: workerFeed(run, 'pushpin', `http://127.0.0.1:${control}`) }
}
