import { execFile } from 'node:child_process'
import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { build } from 'esbuild'
import { CLIENT_BUILD, clientPlugins } from './build-client.ts'

const run = promisify(execFile)
const ROOT = fileURLToPath(new URL('..', import.meta.url))

/** The package's modules; the first two are what people import. */
const MODULES = ['index', 'react', 'tabs'] as const

/** Where the types of the public modules are declared, each once. */
const DECLARATIONS = ['event', 'client/types', 'client/stores', 'client/stream', 'client/index']

/**
 * Makes `glimpse-client-<version>.tgz`: the client as a package of its own, without dependencies. Its files lie side by
 * side, because that is where resolvers look that don't know `exports`.
 *
 * @param folder where the package is put
 * @returns its path
 */
export async function packClient(folder: string): Promise<string> {
  const stage = await mkdtemp(join(tmpdir(), 'glimpse-client-'))
  try {
    const types = join(stage, 'types')
    await Promise.all([
      bundle(stage, 'esm', '.js'),
      bundle(stage, 'cjs', '.cjs'),
      declare(stage, types),
      copyFile(join(ROOT, 'LICENSE'), join(stage, 'LICENSE')),
      copyFile(join(ROOT, 'src/client/README.md'), join(stage, 'README.md')),
      manifest(stage),
    ])
    await rm(types, { recursive: true })
    const { stdout } = await run('npm', ['pack', '--json', '--pack-destination', resolve(folder)], {
      cwd: stage,
    })
    return join(resolve(folder), JSON.parse(stdout)[0].filename)
  } finally {
    await rm(stage, { recursive: true, force: true })
  }
}

async function bundle(stage: string, format: 'esm' | 'cjs', extension: string): Promise<void> {
  await build({
    ...CLIENT_BUILD,
    entryPoints: MODULES.map((name) => `src/client/${name}.ts`),
    outdir: stage,
    outExtension: { '.js': extension },
    format,
    external: ['react'],
    plugins: clientPlugins(MODULES, extension),
  })
}

/** One file of types for each public module and module system: old resolvers don't follow `.ts` in declarations. */
async function declare(stage: string, types: string): Promise<void> {
  const tsc = join(ROOT, 'node_modules/typescript/bin/tsc')
  const options = ['-p', 'tsconfig.build.json', '--emitDeclarationOnly', '--outDir', types]
  await run(process.execPath, [tsc, ...options], { cwd: ROOT })
  const read = (name: string) => readFile(join(types, `${name}.d.ts`), 'utf8')
  const declarations = (await Promise.all(DECLARATIONS.map(read))).map(withoutImports).join('\n')
  const names = exportsOf(await read('client/index'))
  const index = `${reachable(declarations, names).join('\n')}\nexport { ${names.join(', ')} };\n`
  const react = await read('client/react')
  for (const extension of ['.ts', '.cts']) {
    await writeFile(join(stage, `index.d${extension}`), index)
    const sibling = extension === '.ts' ? './index.js' : './index.cjs'
    await writeFile(join(stage, `react.d${extension}`), react.replaceAll("'./index.ts'", `'${sibling}'`))
  }
}

/** The declarations of a file as they stand in the one file of all: nothing is imported, and only the end exports. */
function withoutImports(text: string): string {
  return (
    text
      // The drawing of the states is for those who read the code.
      .replace(/ \* ```\n(?: \*.*\n)*? \* ```\n(?: \*.*\n)*?(?= \*\/)/g, '')
      .replace(/^(import|export)( type)? (\{[^}]*\}|[^{;]*?) from '[^']*';$/gm, '')
      .replace(/^export \{\};$/gm, '')
      .replace(/^export (declare|interface|type|class|function)/gm, (_, what) =>
        what === 'declare' || what === 'interface' || what === 'type' ? what : `declare ${what}`,
      )
  )
}

/** The declarations that others, or the exports, refer to: the service's glossary has more than the client tells of. */
function reachable(text: string, exported: readonly string[]): string[] {
  const starts = [
    ...text.matchAll(/^(?:\/\*\*(?:(?!\*\/)[\s\S])*\*\/\n)?(?:declare \w+|interface|type) (\w+)/gm),
  ]
  const statements = starts.map(({ index, 1: name = '' }, nth) => ({
    name,
    text: text.slice(index, starts[nth + 1]?.index).trimEnd(),
  }))
  const needed = new Set(exported)
  for (let before = 0; before < needed.size; ) {
    before = needed.size
    for (const { name } of statements)
      if (statements.some((other) => needed.has(other.name) && new RegExp(`\\b${name}\\b`).test(other.text)))
        needed.add(name)
  }
  return statements.filter(({ name }) => needed.has(name)).map(({ text }) => text)
}

/** The names that a module exports, as its declarations list them. */
function exportsOf(text: string): string[] {
  const lists = [...text.matchAll(/^export (?:type )?\{([^}]*)\}/gm)].flatMap(([, list = '']) =>
    list.split(','),
  )
  const functions = [...text.matchAll(/^export declare function (\w+)/gm)].map(([, name = '']) => name)
  return [...lists, ...functions]
    .map((name) => name.replace(/^\s*type\s/, '').trim())
    .filter((name) => name !== '')
}

async function manifest(stage: string): Promise<void> {
  const { version, license, engines } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8'))
  const entry = (name: string) => ({
    import: { types: `./${name}.d.ts`, default: `./${name}.js` },
    require: { types: `./${name}.d.cts`, default: `./${name}.cjs` },
  })
  const content = {
    name: 'glimpse-client',
    version,
    description:
      'The client of Glimpse: one user’s events, each once and in order, over WebSocket, SSE or polling.',
    license,
    type: 'module',
    engines,
    sideEffects: false,
    // For resolvers that don't know exports.
    main: './index.cjs',
    module: './index.js',
    types: './index.d.cts',
    exports: { '.': entry('index'), './react': entry('react'), './package.json': './package.json' },
    peerDependencies: { react: '>=18' },
    peerDependenciesMeta: { react: { optional: true } },
  }
  await writeFile(join(stage, 'package.json'), `${JSON.stringify(content, undefined, 2)}\n`)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) console.log(await packClient('.'))
