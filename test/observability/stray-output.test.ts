import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'

const SOURCE = fileURLToPath(new URL('../../src/observability/', import.meta.url))

it('nothing but JSON lines is written, whoever speaks', async () => {
  const script = `
    import { createLogger } from '${SOURCE}log.ts'
    import { logStrayOutput } from '${SOURCE}stray-output.ts'
    logStrayOutput(createLogger('info'))
    console.error('Postgres.js : Unknown Auth:', 7)
    console.log({ a: 1 })
    process.emitWarning('sslmode will change', 'SecurityWarning')
    new Buffer(1)`
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [
    '--import',
    'tsx',
    '--input-type=module',
    '--eval',
    script,
  ])
  expect(stderr).toBe('')
  const lines = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  expect(lines).toMatchObject([
    { level: 'warn', said: 'Postgres.js : Unknown Auth: 7' },
    { said: '{ a: 1 }' },
    { name: 'SecurityWarning', said: 'sslmode will change' },
    { name: 'DeprecationWarning' },
  ])
})
