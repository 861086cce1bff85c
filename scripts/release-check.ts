import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { releases, versionsInFiles } from './versions.ts'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const MAX_PACKED_BYTES = 2 * 2 ** 20

/** The tests that say what is packed, what the image runs, and what upgrades. */
const TESTS = [
  'test/release.test.ts',
  'test/client/pack.test.ts',
  'test/field/image.test.ts',
  'test/deployment/production.test.ts',
  'test/field/upgrade.test.ts',
  'test/store/migrate.test.ts',
]

const USAGE = `npm run release:check

Says whether this checkout may be released: one version everywhere, nothing uncommitted, what the package holds, that it runs
where it is installed from its tarball, and that an older version upgrades to it. It needs npm's registry or its cache.
`

type Check = readonly [name: string, check: () => Promise<string>]

const { version } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8'))
const folder = await mkdtemp(join(tmpdir(), 'glimpse-release-'))

const CHECKS: readonly Check[] = [
  ['committed', committed],
  ['one version', oneVersion],
  ['changelog', changelog],
  ['packed', packed],
  ['installed', installed],
  ['runs', runs],
  ['tests', tests],
]

async function committed(): Promise<string> {
  const changed = run('git', ['status', '--porcelain'], ROOT).trim()
  if (changed !== '') throw new Error(`uncommitted: ${changed.split('\n').length} files`)
  return run('git', ['rev-parse', '--short', 'HEAD'], ROOT).trim()
}

async function oneVersion(): Promise<string> {
  const wrong = (await versionsInFiles()).filter(([, found]) => found !== version)
  if (wrong.length > 0) throw new Error(wrong.map(([file, found]) => `${file}: ${found}`).join(', '))
  return version
}

async function changelog(): Promise<string> {
  const [unreleased, newest] = await releases()
  if (newest === undefined || newest.version !== version || newest.date === undefined)
    throw new Error(`no section for ${version} with a date`)
  if (unreleased !== undefined && unreleased.entries > 0)
    throw new Error(`${unreleased.entries} entries are still under Unreleased`)
  return `${newest.entries} entries, ${newest.date}`
}

async function packed(): Promise<string> {
  const [{ filename, size, entryCount, files }] = JSON.parse(
    run('npm', ['pack', '--json', '--pack-destination', folder], ROOT),
  ) as [{ filename: string; size: number; entryCount: number; files: { path: string }[] }]
  const foreign = files.filter(
    ({ path }) => !/^(dist|migrations|src\/console)\/|^(package\.json|README\.md|LICENSE)$/.test(path),
  )
  if (foreign.length > 0) throw new Error(`has ${foreign.map(({ path }) => path).join(', ')}`)
  if (size > MAX_PACKED_BYTES) throw new Error(`${size} bytes`)
  return `${filename}: ${entryCount} files, ${Math.round(size / 1024)} KiB`
}

async function installed(): Promise<string> {
  await writeFile(join(folder, 'package.json'), '{"private":true}')
  run('npm', ['install', '--no-audit', '--no-fund', '--prefer-offline', `./glimpse-${version}.tgz`], folder)
  const said = run(join(folder, 'node_modules/.bin/glimpse'), ['version'], folder).trim()
  if (said !== version) throw new Error(`glimpse version says ${said}`)
  const { size } = await stat(join(folder, 'node_modules/glimpse/dist/main.js'))
  return `glimpse version says ${said}; main.js has ${size} bytes`
}

/** As somebody who installed it: the service with its own Postgres, and one event from the command line. */
async function runs(): Promise<string> {
  const bin = join(folder, 'node_modules/.bin/glimpse')
  const service = spawn(bin, ['serve', '--port', '0'], {
    cwd: folder,
    env: environment(),
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const ended = once(service, 'close')
  try {
    let url: string | undefined
    for await (const line of createInterface({ input: service.stdout })) {
      url = JSON.parse(line).url
      if (url !== undefined) break
    }
    if (url === undefined) throw new Error('it did not listen')
    service.stdout.resume()
    const glimpse = (...args: string[]) => run(bin, args, folder, { GLIMPSE_URL: url ?? '' }).trim()
    const story = glimpse('send', 'story', 'released', '--as', 'alice')
    glimpse('send', 'view', story, '--as', 'bob')
    const told = glimpse('tail', 'alice', '--after', '0', '--no-follow', '--json')
    if (!told.includes('"viewer_id":"bob"')) throw new Error(`tail printed ${told}`)
    return 'a view is an event'
  } finally {
    service.kill('SIGTERM')
    await ended
  }
}

async function tests(): Promise<string> {
  const vitest = join(ROOT, 'node_modules/vitest/vitest.mjs')
  // vitest passes over a file that is not there.
  for (const file of TESTS) await stat(join(ROOT, file))
  const { status } = spawnSync(process.execPath, [vitest, 'run', '--maxWorkers=1', ...TESTS], {
    cwd: ROOT,
    env: { ...process.env, GLIMPSE_FIELD: 'on' },
    stdio: 'inherit',
  })
  if (status !== 0) throw new Error('some failed')
  return `${TESTS.length} files`
}

/** Nothing of the developer's own environment configures what was installed. */
function environment(more: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
  return { PATH: process.env.PATH, HOME: process.env.HOME, ...more }
}

function run(command: string, args: readonly string[], cwd: string, more = {}): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd,
    env: environment(more),
    encoding: 'utf8',
    maxBuffer: 64 * 2 ** 20,
  })
  if (status !== 0) throw new Error(`${command} ${args[0]}: ${error?.message ?? `${stderr}${stdout}`.trim()}`)
  return stdout
}

if (process.argv.length > 2) {
  console.log(USAGE)
  process.exit(process.argv[2] === '--help' ? 0 : 2)
}
let failed = 0
for (const [name, check] of CHECKS)
  try {
    console.log(`ok    ${name.padEnd(12)} ${await check()}`)
  } catch (error) {
    failed += 1
    console.log(`FAIL  ${name.padEnd(12)} ${(error as Error).message}`)
  }
await rm(folder, { recursive: true, force: true })
console.log(
  failed === 0 ? `Glimpse ${version} may be released.` : `${failed} of ${CHECKS.length} checks failed.`,
)
process.exitCode = failed === 0 ? 0 : 1
