import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

/** The client's source as one script for a page, which then has it as `glimpse`. */
export async function bundleClient(): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL('../../src/client/index.ts', import.meta.url))],
    bundle: true,
    format: 'iife',
    globalName: 'glimpse',
    write: false,
  })
  // A page's evaluate() would return the last value, which can't be copied.
  return `${outputFiles[0]?.text}; globalThis.glimpse = glimpse; 0`
}
