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

/** What every build of the client has in common. ES2022: private fields stay as they are. */
export const CLIENT_BUILD = {
  absWorkingDir: ROOT,
  bundle: true,
  minify: true,
  target: 'es2022',
  platform: 'neutral',
  legalComments: 'none',
  logLevel: 'warning',
  mangleProps: new RegExp(`^(${INTERNAL_NAMES.join('|')})$`),
  mangleCache: Object.fromEntries(INTERNAL_NAMES.map((name, index) => [name, `_${index.toString(36)}`])),
} as const satisfies BuildOptions

/** The module that `GET /client.js` serves: all in one, for pages without a bundler. */
export async function buildClientModule(): Promise<void> {
  await build({
    ...CLIENT_BUILD,
    entryPoints: ['src/client/index.ts'],
    outfile: 'dist/client.js',
    format: 'esm',
    sourcemap: true,
    sourcesContent: true,
  })
}

/** Leaves imports of the package's other files as they are, so that each module exists once. */
export function siblings(names: readonly string[], extension: string): Plugin {
  const filter = new RegExp(`^\\./(${names.join('|')})\\.ts$`)
  return {
    name: 'siblings',
    setup: ({ onResolve }) =>
      onResolve({ filter }, ({ path, kind }) =>
        kind === 'entry-point' ? undefined : { path: path.replace(/\.ts$/, extension), external: true },
      ),
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await buildClientModule()
