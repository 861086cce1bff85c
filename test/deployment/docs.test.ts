import { access, readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))
const read = (path: string) => readFile(join(root, path), 'utf8')

describe.each(['docs/deployment.md', 'docs/observability.md', 'CONTRIBUTING.md'])('%s', (page) => {
  it('links to files there are', async () => {
    const links = [...(await read(page)).matchAll(/\]\(([^)#]+)[^)]*\)/g)].map(([, link]) => link ?? '')
    expect(links.length).toBeGreaterThan(0)
    for (const link of links.filter((target) => !target.includes('://')))
      await expect(access(join(root, dirname(page), link)), link).resolves.toBeUndefined()
  })

  it('names variables there are', async () => {
    const source = await read('src/config.ts')
    const known = [...source.matchAll(/^ {2}([A-Z][A-Z_]+): /gm)].map(([, name]) => name)
    const named = [...(await read(page)).matchAll(/`([A-Z][A-Z]*(?:_[A-Z]+)+)(?:=[^`]*)?`/g)].map(
      ([, name]) => name,
    )
    expect(known).toEqual(expect.arrayContaining(named))
  })
})
