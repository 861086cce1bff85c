import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

/** Whoever has a database of the test server has it from there. */
const DATABASE = 'test/support/database.ts'

/** What a file of the tests imports of the others, types left out. */
const IMPORT = /^(?:import|export) (?!type\b)[^'"]*?from '(\.[^']+)'/gm

/** The test files of folders and files of test/, with their paths from the root. */
export function testFilesOf(suites: readonly string[]): string[] {
  return suites.flatMap((suite) =>
    suite.endsWith('.ts')
      ? [suite]
      : readdirSync(suite, { recursive: true, encoding: 'utf8' })
          .filter((name) => name.endsWith('.test.ts'))
          .map((name) => join(suite, name)),
  )
}

/** Whether a test file comes to the test server by what it imports; one that doesn't says nothing about a version of it. */
export function usesServer(file: string): boolean {
  const seen = new Set([file])
  for (const path of seen) {
    if (path === DATABASE) return true
    if (!path.startsWith('test/') || !existsSync(path)) continue
    for (const [, target = ''] of readFileSync(path, 'utf8').matchAll(IMPORT))
      seen.add(join(dirname(path), target))
  }
  return false
}
