import { orientationTable } from '../delivery.ts'
import { BENCH } from '../parts.ts'
import type { Claim } from './part.ts'
import { PARTS, type Part, type Results, View } from './results.ts'
import type { Spread } from './statistics.ts'
import { spreadText, type Table, tableOf, timesText, toMarkdown } from './table.ts'

/** Every figure and target, in the order of the parts. Only like with like: a peer that stores nothing is none. */
function claimsOf(results: Results): Claim[] {
  return PARTS.flatMap((part) => BENCH[part].claims(new View(results[part])))
}

/** What was wanted by the median, and what was measured. */
export function targetsTable(results: Results): Table {
  const targets = claimsOf(results).flatMap(({ what, better, peer, digits, unit = '', ...claim }) => [
    { name: what, better, got: claim.own, limit: claim.wanted, digits, unit },
    { name: `${what}, of ${peer}`, better, got: claim.ratio, limit: claim.wantedRatio, digits: 2, unit: '×' },
  ])
  const rows = targets.flatMap(({ name, better, got, limit, digits, unit }) => {
    if (got === undefined || limit === undefined) return []
    const reached = better === 'more' ? got.median >= limit : got.median <= limit
    const met = Number.isNaN(got.median) ? 'not measured' : reached ? 'yes' : '**no**'
    const most = limit.toLocaleString('en-US', { maximumFractionDigits: 2 })
    const wanted = `${better === 'more' ? 'at least' : 'at most'} ${most}${unit}`
    return [[name, wanted, spreadText(got, digits, unit), met]]
  })
  return { columns: ['target', 'wanted', 'measured', 'met'], rows }
}

/** What, Glimpse's figure, and beside it the peer's: a table that hides where a peer is ahead is worth nothing. */
function comparisonTable(claims: readonly Claim[]): string | undefined {
  const measured = claims.filter(({ own }) => Number.isFinite(own?.median))
  if (measured.length === 0) return undefined
  return toMarkdown(
    tableOf(measured, [
      ['what', ({ what }) => what],
      ['Glimpse', ({ own, digits, unit }) => spreadText(own as Spread, digits, unit)],
      ['against', against],
    ]),
  )
}

function against({ better, ratio, peer, beside = '–' }: Claim): string {
  if (ratio === undefined || Number.isNaN(ratio.median)) return beside
  const behind = better === 'more' ? ratio.median < 1 : ratio.median > 1
  return `${timesText(ratio)} ${peer}${behind ? ', which is ahead' : ''}`
}

const machineOf = (results: Results) =>
  (Object.values(results)[0]?.machine ?? '').split(',').slice(0, 2).join(',')

/** The README's five numbers. */
export function fiveNumbers(results: Results): string {
  const table = comparisonTable(claimsOf(results).filter(({ headline }) => headline))
  if (table === undefined) return ''
  return `${table}

Median (smallest–largest), measured on ${machineOf(results)}, with Postgres and the clients on the same cores.`
}

/** The tables and the plot of docs/comparison.md. */
export function headline(results: Results): string {
  const table = comparisonTable(claimsOf(results))
  if (table === undefined) return ''
  const apart = orientationTable(new View(results.delivery))
  const orientation = `
For orientation, and not like with like: apart from Glimpse, these store, number and commit nothing.

${apart}`
  return `${table}

Median (smallest–largest) of rounds that alternate with the peers' on one shared machine (${machineOf(results)}), Postgres durable and on the same cores; ratios are the point. [All figures, and how they were taken](benchmarks.md); [where the limits lie](scaling.md).

![Views per second against connections](plots/writes.svg)
${apart === '' ? '' : orientation}`
}

/** The most important first. */
const SLOWER: readonly Part[] = ['writes', 'latency', 'delivery', 'idle']

/** Where a peer was faster, as a list, with when that was measured. A line disappears when Glimpse is no longer slower. */
export function slowerList(results: Results, most = Number.POSITIVE_INFINITY): string {
  const lines = SLOWER.flatMap((part) => BENCH[part].slower?.(new View(results[part])) ?? [])
  if (lines.length === 0) return ''
  // The parts may be of different runs.
  const runs = new Set(Object.values(results).map(({ at, commit }) => `${at.slice(0, 10)}, commit ${commit}`))
  const list = lines.slice(0, most).map((line) => `- ${line}`)
  return `${list.join('\n')}\n\nMeasured on ${[...runs].join(', and on ')}.`
}
