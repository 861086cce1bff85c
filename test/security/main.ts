import { startVitest } from 'vitest/node'
import { audit } from '../../scripts/audit.ts'
import { SUITES } from './suites.ts'
import { TableReporter } from './table.ts'

const USAGE = `npm run test:security -- [--quick] [word…]

Runs the attack suites and prints one table: suite, cases, failures. Words pick the suites whose names hold them.
  --quick  the part that npm test runs

${SUITES.map(({ name, files }) => `  ${name.padEnd(28)} ${files.join(', ')}`).join('\n')}
`

async function main(words: readonly string[]): Promise<number> {
  const flags = words.filter((word) => word.startsWith('--'))
  const picked = words.filter((word) => !word.startsWith('--')).map((word) => word.toLowerCase())
  const suites = SUITES.filter(
    ({ name }) => picked.length === 0 || picked.some((word) => name.toLowerCase().includes(word)),
  )
  if (suites.length === 0 || flags.some((flag) => flag !== '--quick')) {
    console.error(USAGE)
    return 2
  }
  const full = !flags.includes('--quick')
  if (full) process.env.GLIMPSE_SECURITY = 'full'
  const files = suites.flatMap((suite) => suite.files)
  const vitest = await startVitest('test', files, {
    watch: false,
    // Ten thousand cases take a slow machine longer than one test of npm test may.
    ...(full ? { testTimeout: 300_000 } : {}),
    reporters: ['default', new TableReporter()],
  })
  await vitest.close()
  const { verdict, words: said } = await audit()
  console.log(`\n${said}`)
  return process.exitCode === 1 || verdict === 'vulnerable' ? 1 : 0
}

process.exitCode = await main(process.argv.slice(2))
