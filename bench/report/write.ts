import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { replaceBetween } from './markers.ts'
import { page } from './page.ts'
import { fiveNumbers, headline } from './readme.ts'
import { PARTS, type Results } from './results.ts'
import { scalingPassages } from './scaling.ts'
import { sectionOf } from './sections.ts'

/** Makes every page, plot and generated passage from the results; returns the files' paths below the root. */
export async function writePages(root: string, results: Results): Promise<string[]> {
  const files = new Map<string, string>([[join('docs', 'benchmarks.md'), page(results)]])
  for (const part of PARTS)
    for (const { file, svg } of results[part] === undefined ? [] : sectionOf(results[part]).figures)
      files.set(join('docs', 'plots', file), svg)
  for (const [path, passage] of [
    ['README.md', fiveNumbers(results)],
    [join('docs', 'comparison.md'), headline(results)],
  ] as const)
    files.set(path, replaceBetween(await readFile(join(root, path), 'utf8'), 'benchmarks', passage))
  const scaling = join('docs', 'scaling.md')
  files.set(
    scaling,
    Object.entries(scalingPassages(results)).reduce(
      (text, [name, passage]) => replaceBetween(text, name, passage),
      await readFile(join(root, scaling), 'utf8'),
    ),
  )
  await mkdir(join(root, 'docs', 'plots'), { recursive: true })
  for (const [path, text] of files) await writeFile(join(root, path), text)
  return [...files.keys()]
}
