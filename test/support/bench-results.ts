import type { PartResults, Trial } from '../../bench/report/results.ts'

/** What a run leaves of one part, on a machine of no account. */
export function partResults(part: PartResults['part'], trials: PartResults['trials']): PartResults {
  return {
    part,
    trials,
    absent: [],
    at: '2026-01-02T03:04:05.000Z',
    commit: 'abc1234',
    command: 'npm run bench',
    seconds: 60,
    machine: '2 × some CPU, 4 GiB, linux',
    node: '20.0.0',
    loadBefore: 0.1,
    postgres: { server_version: '18.4', fsync: 'on' },
    quick: false,
  }
}

/** Three rounds of one contender, with these figures as their medians. */
export const trial = (
  scenario: string,
  level: number,
  contender: string,
  figures: Record<string, number>,
): Trial => ({
  scenario,
  level,
  contender,
  rounds: [0.9, 1, 1.2].map((factor) =>
    Object.fromEntries(Object.entries(figures).map(([name, value]) => [name, value * factor])),
  ),
  faults: [],
})
