import { access, constants, readFile, stat, statfs } from 'node:fs/promises'
import { createServer } from 'node:net'
import { dirname, join, resolve } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { SECRET_MIN_BYTES } from '../../auth/key-source.ts'
import type { Config } from '../../config.ts'
import type { Environment } from '../command.ts'
import { type Finding, ok, problem, skipped, warning } from './finding.ts'

const OLDEST_NODE = [20, 19] as const

/** @param version such as `v20.20.2` */
export function checkNode(version: string): Finding[] {
  const [major = 0, minor = 0] = version.slice(1).split('.').map(Number)
  const [oldestMajor, oldestMinor] = OLDEST_NODE
  if (major > oldestMajor || (major === oldestMajor && minor >= oldestMinor)) return [ok('node', version)]
  return [problem('node', `${version} is too old`, `install Node ${OLDEST_NODE.join('.')} or newer`)]
}

/** Descriptors for other purposes than streams, such as connections to Postgres. */
const OTHER_DESCRIPTORS = 100

export function checkDescriptors(config: Config, environment: Environment): Finding[] {
  const limit = openFilesLimit()
  if (limit === undefined) return [skipped('open files', 'this system does not tell its limit')]
  const needed = config.maxConnections + OTHER_DESCRIPTORS
  if (limit >= needed) return [ok('open files', `${limit} allowed, ${needed} needed for MAX_CONNECTIONS`)]
  const says = `the open-file limit is ${limit}, but MAX_CONNECTIONS=${config.maxConnections} needs ${needed}: new clients are refused when the limit is reached`
  const fix = `raise the limit (ulimit -n ${needed}; systemd: LimitNOFILE=${needed}), or set MAX_CONNECTIONS=${Math.max(limit - OTHER_DESCRIPTORS, 1)}`
  // The default of MAX_CONNECTIONS is for servers; a laptop does not need it.
  const meant = config.production || (environment.MAX_CONNECTIONS ?? '') !== ''
  return [meant ? problem('open files', says, fix) : warning('open files', says, fix)]
}

/** Node raises its soft limit to the hard one at start, so this is what a server gets. Undefined on Windows. */
function openFilesLimit(): number | undefined {
  const report = process.report as typeof process.report & { excludeNetwork?: boolean }
  // Otherwise the report looks up the name of each peer.
  report.excludeNetwork = true
  const { userLimits } = report.getReport() as {
    userLimits?: { open_files?: { soft: number | 'unlimited' } }
  }
  const soft = userLimits?.open_files?.soft
  return soft === 'unlimited' ? Number.POSITIVE_INFINITY : soft
}

/** DATA_DIR has the embedded Postgres and the development secret. It is checked only if one of them is used. */
export async function checkDataDir(
  config: Config,
  { embedded }: { readonly embedded: boolean },
): Promise<Finding[]> {
  const needsSecret = config.auth.secrets.length + config.auth.jwksUrls.length === 0
  if (!embedded && !needsSecret) return [skipped('data folder', 'DATA_DIR is not used by this configuration')]
  const findings: Finding[] = []
  const folder = await existingFolder(resolve(config.dataDir))
  try {
    if (!(await stat(folder)).isDirectory()) throw new Error(`${folder} is not a folder`)
    await access(folder, constants.W_OK | constants.X_OK)
    findings.push(ok('data folder', `DATA_DIR ${config.dataDir} can be written`))
  } catch (error) {
    const says = `DATA_DIR ${config.dataDir} cannot be written: ${(error as Error).message}`
    findings.push(problem('data folder', says, 'make it a folder that this user may write, or name another'))
  }
  if (needsSecret) findings.push(...(await checkSecretFile(config.dataDir)))
  if (embedded) findings.push(...(await checkDisk(folder)))
  return findings
}

/** The folder, or its nearest parent that exists. */
async function existingFolder(path: string): Promise<string> {
  const there = await stat(path).then(
    () => true,
    () => false,
  )
  return there || dirname(path) === path ? path : existingFolder(dirname(path))
}

async function checkSecretFile(dataDir: string): Promise<Finding[]> {
  const path = join(dataDir, 'jwt-secret')
  const secret = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => error)
  if (typeof secret !== 'string') {
    if (secret.code === 'ENOENT' || secret.code === 'ENOTDIR') return []
    return [
      problem('secret', `${path} cannot be read: ${secret.code}`, 'let this user read it, or delete it'),
    ]
  }
  if (Buffer.byteLength(secret.replace(/[\r\n]+$/, '')) >= SECRET_MIN_BYTES) return []
  return [
    problem(
      'secret',
      `${path} holds fewer than ${SECRET_MIN_BYTES} bytes`,
      'delete it: a new one is made at start',
    ),
  ]
}

const MEBIBYTE = 1024 ** 2
const LITTLE_SPACE = 1024 * MEBIBYTE
/** A new cluster with its write-ahead log takes about this much. */
const TOO_LITTLE_SPACE = 256 * MEBIBYTE

async function checkDisk(folder: string): Promise<Finding[]> {
  const { bavail, bsize } = await statfs(folder)
  const free = bavail * bsize
  const says = `${Math.floor(free / MEBIBYTE)} MiB are free on the disk of DATA_DIR`
  if (free >= LITTLE_SPACE) return [ok('disk', says)]
  const fix = 'make room, or set DATA_DIR to a larger disk; on a full one writes are answered 503'
  return [free < TOO_LITTLE_SPACE ? problem('disk', says, fix) : warning('disk', says, fix)]
}

/** Whether HOST:PORT is free. A Glimpse that already runs there is fine too. */
export async function checkPort({ host, port }: Config): Promise<Finding[]> {
  const code = await tryToListen(host, port)
  const at = `${host}:${port}`
  if (code === undefined) return [ok('port', port === 0 ? 'any free one is taken' : `${at} is free`)]
  switch (code) {
    case 'EADDRINUSE': {
      if (await isGlimpse(host, port)) return [ok('port', `a Glimpse answers on ${at} already`)]
      const fix = `stop what listens there (lsof -i :${port} names it), or choose another PORT`
      return [problem('port', `${at} is taken by another program`, fix)]
    }
    case 'EACCES':
      return [
        problem('port', `this user may not listen on ${at}`, 'use a PORT of 1024 or more, behind a proxy'),
      ]
    default: {
      const fix = 'set HOST to an address of this machine: 127.0.0.1, or 0.0.0.0 for all it has'
      return [problem('port', `HOST ${host} cannot be listened on: ${code}`, fix)]
    }
  }
}

function tryToListen(host: string, port: number): Promise<string | undefined> {
  const server = createServer()
  return new Promise((done) => {
    server.once('error', ({ code = 'unknown' }: NodeJS.ErrnoException) => done(code))
    server.listen({ host, port, exclusive: true }, () => server.close(() => done(undefined)))
  })
}

async function isGlimpse(host: string, port: number): Promise<boolean> {
  // 0.0.0.0 and :: mean all addresses of a machine; they cannot be called.
  const name =
    host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '[::1]' : host.includes(':') ? `[${host}]` : host
  try {
    // /livez, because with PAGES=off there is no document that names the service.
    const answer = await fetch(`http://${name}:${port}/livez`, { signal: AbortSignal.timeout(2000) })
    return isDeepStrictEqual(await answer.json(), { status: 'live' })
  } catch {
    return false
  }
}
