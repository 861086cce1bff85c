import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { stablePort } from '../faults/prover/ports.ts'

export type ProxyKind = 'nginx' | 'haproxy'

/** A proxy of ours before some instances. */
export interface RunningProxy {
  readonly url: string
  /** All it wrote: access and errors. */
  log(): Promise<string>
  stop(): Promise<void>
}

const SAMPLES: Readonly<
  Record<ProxyKind, { readonly file: string; readonly run: (config: string) => string[] }>
> = {
  nginx: { file: 'nginx.conf', run: (config) => ['-c', config, '-g', 'daemon off;'] },
  haproxy: { file: 'haproxy.cfg', run: (config) => ['-db', '-f', config] },
}

// As root nginx's workers would be somebody who can't enter the folder; distributions put both into sbin.
const PATH = `${process.env.PATH}:/usr/sbin:/usr/local/sbin`

export function isInstalled(kind: ProxyKind): boolean {
  return spawnSync(kind, ['-v'], { env: { PATH } }).status === 0
}

/**
 * Runs the sample of deploy/ on a port of its own before the instances. Only addresses and folders are changed in it,
 * and its patience with a silent stream where `idleSeconds` says so.
 */
export async function startProxy(
  kind: ProxyKind,
  instances: readonly [string, string],
  { idleSeconds = 60 } = {},
): Promise<RunningProxy> {
  const folder = await mkdtemp(join(tmpdir(), `glimpse-${kind}-`))
  const port = await stablePort()
  const { file, run } = SAMPLES[kind]
  const sample = await readFile(fileURLToPath(new URL(`../../deploy/${file}`, import.meta.url)), 'utf8')
  const changes: readonly (readonly [RegExp, string])[] = [
    [/\bglimpse-1:8080/g, new URL(instances[0]).host],
    [/\bglimpse-2:8080/g, new URL(instances[1]).host],
    [/\b60s;?$/gm, `${idleSeconds}s${kind === 'nginx' ? ';' : ''}`],
    ...(kind === 'nginx'
      ? ([
          [/listen 8080/, `listen 127.0.0.1:${port}`],
          [/\/tmp\/nginx\.pid/, join(folder, 'pid')],
          [
            /^http \{/m,
            ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].reduce(
              (text, name) => `${text}\n    ${name}_temp_path ${folder}/${name};`,
              'http {',
            ),
          ],
        ] as const)
      : ([[/bind :8080/, `bind 127.0.0.1:${port}`]] as const)),
  ]
  const config = join(folder, file)
  await writeFile(
    config,
    changes.reduce((text, [from, to]) => {
      if (text.search(from) === -1) throw new Error(`${file} has nothing like ${from}`)
      return text.replaceAll(new RegExp(from.source, `g${from.flags.replace('g', '')}`), to)
    }, sample),
  )
  const log = join(folder, 'log')
  const output = openSync(log, 'a')
  const child = spawn(kind, run(config), { env: { PATH }, stdio: ['ignore', output, output] })
  closeSync(output)
  const exited = once(child, 'close')
  const url = `http://127.0.0.1:${port}`
  const proxy: RunningProxy = {
    url,
    log: () => readFile(log, 'utf8'),
    async stop() {
      child.kill('SIGTERM')
      await exited
      await rm(folder, { recursive: true, force: true })
    },
  }
  for (;;) {
    const status = await fetch(`${url}/readyz`).then(
      (response) => response.status,
      () => 0,
    )
    if (status === 200) return proxy
    if (child.exitCode !== null) throw new Error(`${kind} ended: ${await proxy.log()}`)
    await sleep(20)
  }
}
