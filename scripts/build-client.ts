import { fileURLToPath } from 'node:url'
import { type BuildOptions, build, type Plugin } from 'esbuild'

const ROOT = fileURLToPath(new URL('..', import.meta.url))

/** What every build of the client has in common. ES2022: private fields stay as they are. */
export const CLIENT_BUILD = {
  absWorkingDir: ROOT,
  bundle: true,
  minify: true,
  target: 'es2022',
  platform: 'neutral',
  legalComments: 'none',
  logLevel: 'warning',
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
