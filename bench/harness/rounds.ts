import type { Progress } from '../report/progress.ts'
import type { Figures, Trial } from '../report/results.ts'

/** What is measured in every round. */
export interface Plan {
  readonly scenario: string
  readonly level: number
  readonly rounds: number
  /** What the progress line says before the contender's name. */
  readonly title: string
  /** How long one measurement should take. */
  readonly seconds: number
  readonly progress: Pick<Progress, 'step' | 'skip' | 'late'>
}

/** After this many faults in one scenario a contender sits out its remaining rounds: waiting for it takes minutes. */
const MAX_FAULTS = 2

/**
 * Runs every contender once a round, the order turned by one each round, so that neither a disturbance from outside
 * nor a disk still busy with its neighbour's writes falls on the same contender every time. A fault does not end the
 * others' rounds, and is never left out. A run that is late leaves out rounds, but for the first.
 */
export async function alternate<Contender extends { readonly name: string }>(
  contenders: readonly Contender[],
  { scenario, level, rounds, title, seconds, progress }: Plan,
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
    if (round > 0 && progress.late) {
      progress.skip((rounds - round) * contenders.length * seconds)
      break
    }
    for (let i = 0; i < contenders.length; i += 1) {
      const turn = (i + round) % contenders.length
      const trial = trials[turn] as (typeof trials)[number]
      progress.step(`${title}, ${trial.contender}`, seconds)
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
