import { paint, printable } from '../command.ts'
import type { Finding, Verdict } from './finding.ts'

const SIGNS: Readonly<
  Record<Verdict, { readonly sign: string; readonly style: 'green' | 'yellow' | 'red' | 'dim' }>
> = {
  ok: { sign: '✔', style: 'green' },
  warning: { sign: '!', style: 'yellow' },
  problem: { sign: '✖', style: 'red' },
  skipped: { sign: '-', style: 'dim' },
}

export function count(findings: readonly Finding[], verdict: Verdict): number {
  return findings.filter((finding) => finding.verdict === verdict).length
}

/** One line per finding, with its fix below. */
export function formatReport(findings: readonly Finding[], stream: NodeJS.WriteStream): string {
  const width = Math.max(...findings.map(({ check }) => check.length))
  const lines = findings.flatMap(({ check, verdict, says, fix }) => {
    const { sign, style } = SIGNS[verdict]
    const line = `${paint(stream, style, sign)} ${check.padEnd(width)}  ${printable(says)}`
    const indent = ' '.repeat(width + 4)
    return fix === undefined ? [line] : [line, `${indent}${paint(stream, 'bold', 'fix:')} ${printable(fix)}`]
  })
  const problems = count(findings, 'problem')
  const warnings = count(findings, 'warning')
  const sum = `${plural(problems, 'problem')}, ${plural(warnings, 'warning')}`
  return `${lines.join('\n')}\n\n${paint(stream, problems > 0 ? 'red' : 'green', sum)}\n`
}

function plural(n: number, noun: string): string {
  return `${n === 0 ? 'no' : n} ${noun}${n === 1 ? '' : 's'}`
}
