import type { Run } from '../run.ts'
import type { Plot } from './plot.ts'
import { type PartResults, type Row, type Trial, View } from './results.ts'
import type { Spread } from './statistics.ts'
import { type Table, toMarkdown } from './table.ts'

/** A part of the benchmark: what it measures, and what is made of that. */
export interface BenchPart {
  measure(run: Run): AsyncGenerator<Trial>
  readonly title: string
  /** What was compared and what to bear in mind; paragraphs. */
  readonly note: string
  plots(view: View): Plot[]
  tables(view: View): Table[]
  claims(view: View): Claim[]
  /** Where a peer was faster, a line each; none where Glimpse is not slower. */
  slower?(view: View): string[]
}

/** A figure that people ask for first, beside a peer's that is alike, and what is wanted of it. */
export interface Claim {
  readonly what: string
  readonly better: 'more' | 'less'
  readonly own?: Spread
  readonly digits?: number
  readonly unit?: string
  /** The limit of Glimpse's figure; absent: it is only shown. */
  readonly wanted?: number
  readonly peer?: string
  /** Glimpse's figure over the peer's, and the limit of that. */
  readonly ratio?: Spread
  readonly wantedRatio?: number | undefined
  /** Beside Glimpse's figure where there is no peer. */
  readonly beside?: string
  /** One of the README's five numbers. */
  readonly headline?: boolean
}

/** A claim about a figure of one contender, shown as the figure's name says, and its ratio to the peer's. */
export function claimOf(row: Row, figure: string, what: string, claim: Partial<Claim>): Claim {
  const better = /perSecond$/i.test(figure) ? 'more' : 'less'
  const unit = better === 'more' ? '' : figure.endsWith('Us') ? ' µs' : figure.endsWith('Ms') ? ' ms' : ' kB'
  const ratio = claim.peer === undefined ? {} : { ratio: row.over(claim.peer, figure) }
  const digits = better === 'more' ? 0 : 1
  return { what, better, own: row.spread(figure), digits, unit, ...ratio, ...claim }
}

/** For the terminal: what was measured, without how. */
export function partText({ title, tables }: BenchPart, results: PartResults): string {
  const remarks = remarksOf(results).map((remark) => `! ${remark}`)
  return [`\n${title}`, ...tables(new View(results)).map(toMarkdown), ...remarks].join('\n\n')
}

/** The part's section of docs/benchmarks.md. */
export function partMarkdown({ title, note, ...part }: BenchPart, results: PartResults): string {
  const view = new View(results)
  const plots = part.plots(view).map(({ file, alt }) => `![${alt}](plots/${file})`)
  const remarks = remarksOf(results).map((remark) => `- ${remark}`)
  const paragraphs = [`## ${title}`, note, ...plots, ...part.tables(view).map(toMarkdown), remarks.join('\n')]
  return paragraphs.filter((paragraph) => paragraph !== '').join('\n\n')
}

/** Who was not there and what went wrong: nothing of that may be lost between the figures. */
function remarksOf({ absent, trials }: PartResults): string[] {
  const faulty = trials.filter(({ faults }) => faults.length > 0)
  const faults = faulty.map(({ contender, scenario, level, faults, rounds }) => {
    const failed = rounds.filter((round) => round === null).length
    return `**${contender}**, ${scenario} (${level}): ${failed} of ${rounds.length} rounds without a figure. ${[...new Set(faults)].map(oneLine).join('; ')}`
  })
  const most = Math.max(...trials.map(({ rounds }) => rounds.length))
  const short = trials.filter(({ rounds }) => rounds.length < most)
  const late = new Set(short.map(({ scenario, level, rounds }) => `${scenario} (${level}): ${rounds.length}`))
  const remark = `Fewer than ${most} rounds, since the run was late: ${[...late].join(', ')}`
  return [
    ...absent.map((line) => `Not run: ${oneLine(line)}`),
    ...faults,
    ...(late.size === 0 ? [] : [remark]),
  ]
}

function oneLine(text: string): string {
  const line = text.replace(/\s+/g, ' ').trim()
  return line.length > 300 ? `${line.slice(0, 300)} …` : line
}
