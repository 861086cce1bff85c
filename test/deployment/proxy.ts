import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { stablePort } from '../faults/prover/ports.ts'
import { SERVER_PATH } from '../support/listening-program.ts'

export type ProxyKind = 'nginx' | 'haproxy' | 'caddy'

/** A proxy of ours before some instances. */
export interface RunningProxy {
  readonly url: string
  /** The same over TLS, where that was asked for. */
  readonly tlsUrl: string
  /** All it wrote: access and errors. */
  log(): Promise<string>
  stop(): Promise<void>
}

const SAMPLES: Readonly<
  Record<ProxyKind, { readonly file: string; readonly run: (config: string) => string[] }>
> = {
  nginx: { file: 'nginx.conf', run: (config) => ['-c', config, '-g', 'daemon off;'] },
  haproxy: { file: 'haproxy.cfg', run: (config) => ['-db', '-f', config] },
  caddy: { file: 'Caddyfile', run: (config) => ['run', '--adapter', 'caddyfile', '--config', config] },
}

export function isInstalled(kind: ProxyKind): boolean {
  return spawnSync(kind, [kind === 'caddy' ? 'version' : '-v'], { env: { PATH: SERVER_PATH } }).status === 0
}

type Change = readonly [RegExp, string]

/** The lines for TLS, without their comment sign. */
const TLS_LINES: readonly Change[] = [[/^( +)# (?=listen 443|ssl_certificate|bind :443)/gm, '$1']]

/** nginx's own folders belong to whoever the distribution has it run as. */
function nginxFolders(folder: string): readonly Change[] {
  const names = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  const lines = names.map((name) => `\n    ${name}_temp_path ${folder}/${name};`)
  return [
    [/\/tmp\/nginx\.pid/g, join(folder, 'pid')],
    [/^http \{/gm, `http {${lines.join('')}`],
  ]
}

/** Every change must find its place, so that a test says when it no longer tests the sample it was written for. */
function adapt(sample: string, changes: readonly Change[]): string {
  return changes.reduce((text, [from, to]) => {
    if (text.search(from) === -1) throw new Error(`the sample has nothing like ${from}`)
    return text.replaceAll(from, to)
  }, sample)
}

/** For a day, in the two files that the samples name: glimpse.pem holds the key too, as HAProxy wants it. */
function makeCertificate(folder: string): void {
  const key = [
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-keyout',
    join(folder, 'glimpse.key'),
  ]
  const { status, stdout } = spawnSync('openssl', [
    'req',
    '-x509',
    ...key,
    '-days',
    '1',
    '-subj',
    '/CN=localhost',
  ])
  if (status !== 0) throw new Error('openssl could not make a certificate')
  writeFileSync(
    join(folder, 'glimpse.pem'),
    Buffer.concat([stdout, readFileSync(join(folder, 'glimpse.key'))]),
  )
}

/**
 * Runs the sample of deploy/ on a port of its own before the instances. Only addresses and folders are changed in it,
 * its patience with a silent stream where `idleSeconds` says so, and with `tls` the commented lines are put in force.
 */
export async function startProxy(
  kind: ProxyKind,
  instances: readonly [string, string],
  { idleSeconds = 60, tls = false } = {},
): Promise<RunningProxy> {
  const folder = await mkdtemp(join(tmpdir(), `glimpse-${kind}-`))
  const [port, tlsPort] = [await stablePort(), await stablePort()]
  const { file, run } = SAMPLES[kind]
  const sample = await readFile(fileURLToPath(new URL(`../../deploy/${file}`, import.meta.url)), 'utf8')
  const config = join(folder, file)
  await writeFile(
    config,
    adapt(sample, [
      [/\bglimpse-1:8080/g, new URL(instances[0]).host],
      [/\bglimpse-2:8080/g, new URL(instances[1]).host],
      [/\b60s\b/g, `${idleSeconds}s`],
      [/(?<=(?:listen |bind |^http:\/\/))(?::?8080)/gm, `127.0.0.1:${port}`],
      // No folder, and no port, of a Caddy that runs already.
      ...(kind === 'caddy' ? ([[/^\{$/gm, '{\n\tadmin off']] as const) : []),
      ...(kind === 'nginx' ? nginxFolders(folder) : []),
      ...(tls ? TLS_LINES : []),
      ...(tls ? ([[/(?<=(?:listen |bind )):?443/g, `127.0.0.1:${tlsPort}`]] as const) : []),
      ...(tls ? ([[/\/etc\/ssl\//g, `${folder}/`]] as const) : []),
    ]),
  )
  if (tls) makeCertificate(folder)
  const log = join(folder, 'log')
  const output = openSync(log, 'a')
  const child = spawn(kind, run(config), {
    env: { PATH: SERVER_PATH, HOME: folder },
    stdio: ['ignore', output, output],
  })
  closeSync(output)
  const exited = once(child, 'close')
  const url = `http://127.0.0.1:${port}`
  const proxy: RunningProxy = {
    url,
    tlsUrl: `https://127.0.0.1:${tlsPort}`,
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
