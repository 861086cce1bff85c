import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const VITEST = join(ROOT, 'node_modules/vitest/vitest.mjs')

/** Past it something hangs: the whole of the tests takes less. */
const LIMIT_MS = 900_000
const TAIL_LINES = 60

export interface SuiteResult {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
  /** Names of the tests that failed, or why nothing could run. */
  readonly failures: readonly string[]
  /** The end of what was printed. */
  readonly output: string
}

interface Report {
  readonly numPassedTests: number
  readonly numFailedTests: number
  readonly numPendingTests: number
  readonly testResults: readonly {
    readonly name: string
    readonly status: string
    readonly message: string
    readonly assertionResults: readonly { readonly status: string; readonly fullName: string }[]
  }[]
}

export interface SuiteOptions {
  /** Folders or files of test/. */
  readonly suites: readonly string[]
  readonly environment: Readonly<Record<string, string>>
  /** Only the tests whose names match. */
  readonly pattern?: string | undefined
  /** How many files run at a time. */
  readonly workers: number
  /** The Node to run on; else this one. */
  readonly node?: string | undefined
}

/** Runs these tests in a process of their own. */
export async function runSuites({
  suites,
  environment,
  pattern,
  workers,
  node = process.execPath,
}: SuiteOptions): Promise<SuiteResult> {
  const report = join(tmpdir(), `glimpse-field-${crypto.randomUUID()}.json`)
  const args = [
    'run',
    ...suites,
    `--maxWorkers=${workers}`,
    '--reporter=dot',
    '--reporter=json',
    `--outputFile.json=${report}`,
  ]
  if (pattern !== undefined) args.push(`--testNamePattern=${pattern}`)
  const child = spawn(node, [VITEST, ...args], {
    cwd: ROOT,
    env: {
      ...process.env,
      // What tests spawn by the name `node` is to be the same one.
      PATH: `${dirname(node)}:${process.env.PATH}`,
      ...environment,
      GLIMPSE_FIELD: 'on',
    },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: LIMIT_MS,
    killSignal: 'SIGKILL',
  })
  const lines: string[] = []
  for (const pipe of [child.stdout, child.stderr])
    pipe.setEncoding('utf8').on('data', (text: string) => {
      lines.push(...text.split('\n'))
      lines.splice(0, Math.max(0, lines.length - TAIL_LINES))
    })
  await once(child, 'close')
  const output = lines.join('\n')
  try {
    return { ...resultOf(JSON.parse(await readFile(report, 'utf8')) as Report), output }
  } catch (error) {
    const failures = [`no report: ${(error as Error).message}`]
    return { passed: 0, failed: 1, skipped: 0, failures, output }
  } finally {
    await rm(report, { force: true })
  }
}

function resultOf({ numPassedTests, numPendingTests, testResults }: Report): Omit<SuiteResult, 'output'> {
  const failures = testResults.flatMap(({ name, status, message, assertionResults }) => {
    const failed = assertionResults.filter((result) => result.status === 'failed')
    // A file that could not even be loaded has no tests to count.
    if (status === 'failed' && failed.length === 0) return [`${name}: ${message.split('\n')[0]}`]
    return failed.map(({ fullName }) => fullName)
  })
  if (numPassedTests === 0 && failures.length === 0) failures.push('no test ran')
  return { passed: numPassedTests, failed: failures.length, skipped: numPendingTests, failures }
}
