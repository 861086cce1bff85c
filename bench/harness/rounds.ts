import type { Figures, Trial } from '../report/results.ts'

/** After this many faults in one scenario a contender sits out its remaining rounds: waiting for it takes minutes. */
const MAX_FAULTS = 2

/**
 * Runs every contender once a round, the order turned by one each round, so that neither a disturbance from outside
 * nor a disk still busy with its neighbour's writes falls on the same contender every time. A fault does not end the
 * others' rounds, and is never left out.
 */
export async function alternate<Contender extends { readonly name: string }>(
  contenders: readonly Contender[],
  { scenario, level, rounds }: { readonly scenario: string; readonly level: number; readonly rounds: number },
  measure: (contender: Contender, round: number) => Promise<Figures>,
): Promise<Trial[]> {
  const trials = contenders.map(({ name }) => ({
    scenario,
    level,
    contender: name,
    rounds: [] as (Figures | null)[],
    faults: [] as string[],
  }))
  for (let round = 0; round < rounds; round += 1) {
    for (let i = 0; i < contenders.length; i += 1) {
      const turn = (i + round) % contenders.length
      const trial = trials[turn] as (typeof trials)[number]
      try {
        const figures =
          trial.faults.length < MAX_FAULTS ? await measure(contenders[turn] as Contender, round) : null
        trial.rounds.push(figures)
      } catch (error) {
        trial.rounds.push(null)
        trial.faults.push(error instanceof Error ? error.message : String(error))
      }
    }
  }
  return trials
}
