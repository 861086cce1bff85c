import { readdir, readFile, stat } from 'node:fs/promises'
import { builtinModules } from 'node:module'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { build as esbuild } from 'esbuild'
import { rolldown } from 'rolldown'
import { build as vite } from 'vite'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { INTERNAL_NAMES } from '../../scripts/build-client.ts'
import { folderWithClient, ROOT, USER_PROGRAM, type UserFolder } from '../support/client-package.ts'

/** Bytes that `connect` adds, gzipped. The docs say so too. */
const BUDGET = 8000
/** The same where Vite builds for the browsers of 2020, as Vite 6 does by default. */
const BUDGET_2020 = 8500
const MAX_UNPACKED = 100_000

let folder: UserFolder
beforeAll(async () => {
  folder = await folderWithClient()
})
afterAll(() => folder?.remove())

const tsc = join(ROOT, 'node_modules/typescript/bin/tsc')

describe('glimpse-client, packed', () => {
  it('is a few files, at most 100 kB, and depends on nothing', async () => {
    const names = await readdir(folder.client)
    const sizes = await Promise.all(names.map(async (name) => (await stat(join(folder.client, name))).size))
    expect(sizes.reduce((sum, size) => sum + size)).toBeLessThanOrEqual(MAX_UNPACKED)
    expect(names).toEqual(expect.arrayContaining(['LICENSE', 'README.md', 'index.js', 'react.js']))
    const manifest = JSON.parse(await readFile(join(folder.client, 'package.json'), 'utf8'))
    const { version } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8'))
    expect(manifest).toMatchObject({ version, peerDependenciesMeta: { react: { optional: true } } })
    expect(manifest.dependencies).toBeUndefined()
    for (const name of names.filter((each) => /\.c?js$/.test(each))) {
      const text = await readFile(join(folder.client, name), 'utf8')
      const asked = [...text.matchAll(/(?:from|require\(|import\()\s*["']([^"']+)["']/g)].map(
        ([, what]) => what,
      )
      expect(asked.filter((what) => !/^(\.\/\w+\.c?js|react)$/.test(what ?? ''))).toEqual([])
      expect(builtinModules.filter((module) => text.includes(`node:${module}`))).toEqual([])
    }
  })

  it('exports the same to import and to require, each module once', async () => {
    await folder.write({
      'both.mjs': `
        import * as client from 'glimpse-client'
        import { createRequire } from 'node:module'
        const required = createRequire(import.meta.url)('glimpse-client')
        const names = (module) => Object.keys(module).filter((name) => name !== 'module.exports').sort().join(' ')
        console.log(names(client) === names(required), names(client))
        await import('glimpse-client/react')
        createRequire(import.meta.url)('glimpse-client/react')`,
    })
    expect((await folder.run(process.execPath, 'both.mjs')).trim()).toBe(
      'true SignedOutError StreamError connect localStorageCursor',
    )
  })

  it.each([
    ['nodenext', 'nodenext', 'module'],
    ['nodenext', 'nodenext', 'commonjs'],
    ['esnext', 'bundler', 'module'],
  ])('has types for module %s, moduleResolution %s, in a package of type %s; and runs', async (module, moduleResolution, type) => {
    const compilerOptions = {
      module,
      moduleResolution,
      strict: true,
      exactOptionalPropertyTypes: true,
      // The declarations themselves are checked too.
      skipLibCheck: false,
      target: 'es2022',
      lib: ['es2023', 'dom'],
      types: [],
      outDir: 'out',
    }
    await folder.write({
      'package.json': JSON.stringify({ type }),
      'tsconfig.json': JSON.stringify({ compilerOptions, files: ['user.ts'] }),
      'user.ts': USER_PROGRAM,
    })
    await folder.run(process.execPath, tsc)
    expect((await folder.run(process.execPath, 'out/user.js')).trim()).toBe(
      'closed function function function function',
    )
  })
})

describe('the size of connect', () => {
  const entry = { 'entry.js': "import { connect } from 'glimpse-client'\nglobalThis.open = connect" }

  it.each([
    ['by default', undefined, BUDGET],
    ['for the browsers of 2020', ['es2020', 'edge88', 'firefox78', 'chrome87', 'safari14'], BUDGET_2020],
  ])('is at most 8 kB as Vite builds it %s, without Vite’s loader of modules; tab sharing is apart', async (_, target, budget) => {
    const [empty = 0] = await viteSizes('console.log(1)', target)
    const [loading = 0] = await viteSizes("import('./apart.js').then(({ apart }) => apart())", target)
    const sizes = await viteSizes(entry['entry.js'], target)
    const [mainSize = 0, tabsSize = 0] = sizes
    const loader = loading - empty
    expect(loader).toBeGreaterThan(400)
    expect(mainSize - loader).toBeGreaterThan(1000)
    expect(mainSize - loader).toBeLessThanOrEqual(budget)
    expect(sizes).toHaveLength(2)
    expect(tabsSize).toBeGreaterThan(500)
  })

  /** The sizes of an application's main chunk and of the others, gzipped. */
  async function viteSizes(main: string, target?: string[]): Promise<number[]> {
    await folder.write({
      'entry.js': main,
      'apart.js': 'export const apart = () => 1',
      'index.html': '<script type="module" src="/entry.js"></script>',
    })
    const build = target === undefined ? {} : { target }
    await vite({ root: folder.path, configFile: false, logLevel: 'silent', build })
    const assets = join(folder.path, 'dist/assets')
    const names = (await readdir(assets)).sort(
      (a, b) => Number(b.startsWith('index')) - Number(a.startsWith('index')),
    )
    return Promise.all(names.map(async (name) => gzipSync(await readFile(join(assets, name))).length))
  }

  // The whole of what a bundler makes, its own runtime included.
  it('is at most 8,192 bytes with esbuild and rolldown, and react is not in it', async () => {
    await folder.write(entry)
    const input = join(folder.path, 'entry.js')
    const options = { bundle: true, minify: true, format: 'esm', splitting: true, write: false } as const
    const { outputFiles } = await esbuild({ ...options, entryPoints: [input], outdir: folder.path })
    const rolled = await rolldown({ input, logLevel: 'silent' })
    const { output } = await rolled.generate({ minify: true })
    const entries = [outputFiles.find(({ path }) => path.endsWith('entry.js'))?.text, output[0].code]
    for (const text of entries) {
      expect(gzipSync(text ?? '').length).toBeLessThanOrEqual(8192)
      expect(text).not.toContain('useSyncExternalStore')
    }
  })
})

describe('tab sharing, a separate module', () => {
  it('knows the properties of the main module by the same short names', async () => {
    await folder.write({
      'sharing.mjs': `
        import { connect } from 'glimpse-client'
        // A browser whose only tab gets the lock at once.
        const locks = { request: async (name, options, callback) => callback(), query: async () => ({ held: [] }) }
        Object.defineProperty(globalThis, 'navigator', { value: { locks } })
        const event = (seq) => ({ id: 'e.' + seq + '.c', seq, type: 'story.viewed', data: {}, timestamp: '' })
        let head = 1
        const fetch = async (url) => {
          const after = Number(new URL(url).searchParams.get('after')?.split('.')[1] ?? head)
          const events = Array.from({ length: head - after }, (_, nth) => event(after + nth + 1))
          return Response.json({ events, cursor: 'e.' + head + '.c', has_more: false, reset: null, read: 'e.0.c', unread: head })
        }
        const stream = connect({
          url: 'http://service.test', token: 'x.' + btoa('{"sub":"alice"}') + '.x', share: 'tabs', transport: 'poll', fetch,
          timing: { pollIntervalMs: 10 },
          onState: ({ name }) => { if (name === 'live') head = 3 },
          onEvent: ({ seq }) => { console.log(seq); if (seq === 3) stream.close() },
        })
        setTimeout(() => process.exit(1), 30_000).unref()
        await stream.done
        process.exit(0)`,
    })
    expect((await folder.run(process.execPath, 'sharing.mjs')).trim().split('\n')).toEqual(['2', '3'])
  })
})

describe('private fields', () => {
  it('are plain properties, so that a Proxy around a stream, as Vue makes it, works', async () => {
    await folder.write({
      'proxied.mjs': `
        import { connect } from 'glimpse-client'
        const stream = new Proxy(connect({ url: 'http://127.0.0.1:1', token: 'any' }), {})
        stream.on('*', () => {})
        stream.retry()
        stream.close()
        await stream.done
        console.log(stream.state.name, stream.unread)`,
    })
    expect((await folder.run(process.execPath, 'proxied.mjs')).trim()).toBe('closed 0')
    for (const name of ['index.js', 'tabs.js', 'react.js', 'index.cjs'])
      expect(await readFile(join(folder.client, name), 'utf8')).not.toMatch(/#[a-z]/)
  })
})

describe('the properties that the build shortens', () => {
  it('collide with nothing: none is in the types, none is a property of the platform that the client uses', async () => {
    const types = await readFile(join(folder.client, 'index.d.ts'), 'utf8')
    const declared = [...types.matchAll(/^\s+(?:readonly |get |set )?(\w+)\??[:(<]/gm)].map(
      ([, name]) => name,
    )
    expect(declared.length).toBeGreaterThan(50)
    expect(INTERNAL_NAMES.filter((name) => declared.includes(name))).toEqual([])
    const platform = [
      Array,
      AbortController,
      AbortSignal,
      EventTarget,
      Headers,
      Map,
      Promise,
      Request,
      Response,
      Set,
      URL,
      URLSearchParams,
      String,
    ].flatMap((each) => Object.getOwnPropertyNames(each.prototype))
    expect(INTERNAL_NAMES.filter((name) => platform.includes(name))).toEqual([])
  })
})

describe('the service’s own package', () => {
  it('has what runs, and nothing else', async () => {
    const listing = await folder.run('npm', 'pack', '--dry-run', '--json', ROOT)
    const [{ files }] = JSON.parse(listing) as [{ files: { path: string }[] }]
    const paths = files.map(({ path }) => path)
    for (const needed of [
      'dist/main.js',
      'dist/cli/main.js',
      'dist/client.js',
      'migrations/0001_stories.sql',
      'src/console/index.html',
      'dist/client/index.d.ts',
    ])
      expect(paths).toContain(needed)
    const foreign = paths.filter(
      (path) => !/^(dist|migrations|src\/console)\/|^(package\.json|README\.md|LICENSE)$/.test(path),
    )
    expect(foreign).toEqual([])
    // It needs React, which the service has not.
    expect(paths.filter((path) => path.includes('client/react'))).toEqual([])
    expect(paths.filter((path) => /\.ts$/.test(path) && !/\.d\.ts$/.test(path))).toEqual([])
  })
})
