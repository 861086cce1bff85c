import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { VARIABLES } from '../../src/environment.ts'
import { CONNECTIONS } from '../../src/postgres/database.ts'

const read = (path: string) => readFile(fileURLToPath(new URL(`../../${path}`, import.meta.url)), 'utf8')

it.each(['docs/deployment.md', 'docs/observability.md'])('%s names variables there are', async (page) => {
  const named = [
    ...(await read(page)).matchAll(/`(?!OTEL_|NODE_OPTIONS|GLIMPSE_)([A-Z]+(?:_[A-Z]+)+)(?:=[^`]*)?`/g),
  ].map(([, name]) => name)
  expect(named.length).toBeGreaterThan(0)
  expect(VARIABLES).toEqual(expect.arrayContaining(named))
})

it('docs/deployment.md counts the connections that an instance opens to Postgres', async () => {
  const total = Object.values(CONNECTIONS).reduce((sum, count) => sum + count, 0)
  const page = await read('docs/deployment.md')
  expect(page).toContain(`An instance opens at most ${total} connections`)
  expect(page).toContain(`above ${total} × instances`)
})
