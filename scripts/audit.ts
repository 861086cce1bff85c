import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('..', import.meta.url))

export interface AuditResult {
  /** `unanswered`: the registry was out of reach or has no such endpoint, so nothing is known. */
  readonly verdict: 'clean' | 'vulnerable' | 'unanswered'
  /** One line for people. */
  readonly words: string
}

interface AuditReport {
  readonly vulnerabilities?: Readonly<Record<string, { readonly severity: string }>>
  readonly message?: string
  readonly error?: { readonly summary?: string }
}

/** Asks the registry whether a production dependency has a known vulnerability. Never throws. */
export async function audit(registry?: string): Promise<AuditResult> {
  const where = registry === undefined ? [] : ['--registry', registry]
  const output = await npm('audit', '--omit=dev', '--json', '--fetch-retries=0', ...where)
  const report = parse(output)
  if (report?.vulnerabilities === undefined) {
    const reason = report?.error?.summary || report?.message || 'no answer'
    return { verdict: 'unanswered', words: `npm audit: not checked, the registry did not answer (${reason})` }
  }
  const found = Object.entries(report.vulnerabilities)
  if (found.length === 0)
    return { verdict: 'clean', words: 'npm audit: no known vulnerability in production' }
  const list = found.map(([name, { severity }]) => `${name} (${severity})`).join(', ')
  return { verdict: 'vulnerable', words: `npm audit: ${list}` }
}

function parse(text: string): AuditReport | undefined {
  try {
    return JSON.parse(text) as AuditReport
  } catch {
    return undefined
  }
}

/** Standard output of npm, whatever its exit code: with findings it is 1. */
function npm(...words: string[]): Promise<string> {
  return new Promise((resolve) => {
    execFile('npm', words, { cwd: ROOT, maxBuffer: 16 * 2 ** 20 }, (_error, stdout) => resolve(stdout))
  })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { verdict, words } = await audit()
  console.log(words)
  process.exitCode = verdict === 'vulnerable' ? 1 : 0
}
