import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { type BuildOptions, build, type Plugin } from 'esbuild'

const ROOT = fileURLToPath(new URL('..', import.meta.url))

/**
 * Properties that only the client's own modules use. Minifiers leave the names of properties alone, so these are shortened
 * here, to the same in every module; it makes the client 5 % smaller. Nothing public, of the wire or of the platform may
 * be among them: test/client/pack.test.ts compares them with the types.
 */
export const INTERNAL_NAMES = [
  ...['alive', 'attempt', 'backoff', 'base', 'busy', 'closeMessage', 'fail', 'fallback', 'finish', 'forgive'],
  ...['fresh', 'handoff', 'hasHandlers', 'hasOthers', 'interrupt', 'interruption', 'isOpen', 'isProblem'],
  ...['isShared', 'judge', 'kept', 'listeners', 'livedMs', 'lookAfter', 'looping', 'marked'],
  ...['mayImprove', 'offer', 'onControl', 'opened', 'pauseUnless', 'probe', 'quietMs', 'readPage', 'refuse'],
  ...['release', 'renew', 'renewInMs', 'renewable', 'renewed', 'restartsAtOnce', 'restore', 'retryAfterMs'],
  ...['saved', 'saver', 'saw', 'settle', 'tell', 'tokens', 'wakeable', 'whileBusy', 'worked'],
]

/**
 * Private fields become plain ones with a short name. Bundlers that build for older browsers translate private fields into
 * a WeakMap each, which makes the client a third larger; and a stream in a reactive state of Vue is called through a Proxy,
 * which has no private fields.
 */
const plainFields: Plugin = {
  name: 'plain-fields',
  setup: ({ onLoad }) =>
    onLoad({ filter: /src\/client\/[\w-]+\.ts$/ }, async ({ path }) => ({
      contents: (await readFile(path, 'utf8')).replace(/#(?=[a-z])/g, '__'),
      loader: 'ts',
    })),
}

/** What every build of the client has in common, for browsers of the last five years. */
export const CLIENT_BUILD = {
  absWorkingDir: ROOT,
  bundle: true,
  minify: true,
  target: 'es2021',
  tsconfigRaw: { compilerOptions: { useDefineForClassFields: false } },
  platform: 'neutral',
  legalComments: 'none',
  logLevel: 'warning',
  mangleProps: new RegExp(`^(__.+|${INTERNAL_NAMES.join('|')})$`),
  // Each module is minified by itself, and they hand objects to each other.
  mangleCache: Object.fromEntries(INTERNAL_NAMES.map((name, index) => [name, `_${index.toString(36)}`])),
} as const satisfies BuildOptions

/** @param names of the package's other modules, whose imports stay as they are, so that each module exists once */
export function clientPlugins(names: readonly string[] = [], extension = ''): Plugin[] {
  const filter = new RegExp(`^\\./(${names.join('|')})\\.ts$`)
  const siblings: Plugin = {
    name: 'siblings',
    setup: ({ onResolve }) =>
      onResolve({ filter }, ({ path, kind }) =>
        kind === 'entry-point' ? undefined : { path: path.replace(/\.ts$/, extension), external: true },
      ),
  }
  return names.length === 0 ? [plainFields] : [siblings, plainFields]
}

/** The module that `GET /client.js` serves: all in one, for pages without a bundler. */
export async function buildClientModule(): Promise<void> {
  await build({
    ...CLIENT_BUILD,
    plugins: clientPlugins(),
    entryPoints: ['src/client/index.ts'],
    outfile: 'dist/client.js',
    format: 'esm',
    sourcemap: true,
    sourcesContent: true,
  })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await buildClientModule()
