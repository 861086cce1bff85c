import { readFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { transform } from 'esbuild'
import { expect, it } from 'vitest'
import { SCENARIOS } from '../scenarios/index.ts'
import { copyBuild, withEdits } from './build.ts'
import { losesOneIn } from './plants.ts'

const TIMEOUT_MS = 120_000
const SWEEP = 'const SWEEP_INTERVAL_MS = 4000'

it.each(
  SCENARIOS.map(({ name, planted }) => [planted.bug.name, name, planted.bug.edits] as const),
)('the bug "%s" has its place in the source, exactly once (%s)', async (_bug, _scenario, edits) => {
  for (const [file, text] of await withEdits(edits))
    if (file.endsWith('.ts')) await transform(text, { loader: 'ts' })
})

it.each([
  ['is gone', 'no such text', 'exactly once, found 0 times'],
  ['is there more than once', 'const', 'exactly once, found'],
])('a bug whose place %s is not planted', async (_what, find, error) => {
  await expect(copyBuild([{ file: 'src/service.ts', find, put: '' }])).rejects.toThrow(error)
})

it('a bug that does not compile is not planted', { timeout: TIMEOUT_MS }, async () => {
  const edit = { file: 'src/service.ts', find: SWEEP, put: 'const SWEEP_INTERVAL_MS: string = 4000' }
  await expect(copyBuild([edit])).rejects.toThrow('a planted bug does not compile')
})

it('a planted bug is in the code that runs, and not in the source', { timeout: TIMEOUT_MS }, async () => {
  const { edits } = losesOneIn(7)
  const build = await copyBuild(edits)
  try {
    const bug = 'counter.lines % 7 === 0'
    expect(await readFile(`${dirname(build.main)}/bus/payload.js`, 'utf8')).toContain(bug)
    expect(await readFile('src/bus/payload.ts', 'utf8')).not.toContain(bug)
  } finally {
    await build.remove()
  }
})
