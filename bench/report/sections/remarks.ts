import type { PartResults } from '../results.ts'

/** Who was not there and what went wrong: nothing of that may be lost between the figures. */
export function remarksOf({ absent, trials }: PartResults): string[] {
  const faults = trials.flatMap(({ contender, scenario, level, faults: own, rounds }) => {
    if (own.length === 0) return []
    const failed = rounds.filter((round) => round === null).length
    return `**${contender}**, ${scenario} (${level}): ${failed} of ${rounds.length} rounds without a figure. ${[...new Set(own)].map(oneLine).join('; ')}`
  })
  const most = Math.max(...trials.map(({ rounds }) => rounds.length))
  const short = trials.filter(({ rounds }) => rounds.length < most)
  const scenarios = new Set(
    short.map(({ scenario, level, rounds }) => `${scenario} (${level}): ${rounds.length}`),
  )
  return [
    ...absent.map((line) => `Not run: ${oneLine(line)}`),
    ...faults,
    ...(scenarios.size === 0
      ? []
      : [`Fewer than ${most} rounds, since the run was late: ${[...scenarios].join(', ')}`]),
  ]
}

function oneLine(text: string): string {
  const line = text.replace(/\s+/g, ' ').trim()
  return line.length > 300 ? `${line.slice(0, 300)} …` : line
}

/** A generator this busy is taken for the limit. */
const SATURATED = 0.9

/** Cores of a load generator, marked where it was itself the limit. */
export function coresText(cores: number): string {
  if (!Number.isFinite(cores)) return '–'
  return `${cores.toFixed(2)}${cores >= SATURATED ? '*' : ''}`
}
