import { Progress } from '../../test/faults/progress.ts'
import type { Figures, Trial } from '../report/results.ts'
import type { Run } from '../run.ts'

/** Says what is being measured. */
export const progress = new Progress()

/** What is measured in every round. */
export interface Plan {
  readonly scenario: string
  readonly level: number
  /** How long one measurement should take. */
  readonly seconds: number
}

export interface Entrant {
  readonly name: string
  /** Where fewer rounds than the run's are enough. */
  readonly mostRounds?: number
}

/** How much longer than planned rounds may take before others are left out: on a busy machine a run would have no end. */
const LATE = 1.25
/** After this many faults in one scenario a contender sits out its remaining rounds: waiting for it takes minutes. */
const MAX_FAULTS = 2

/**
 * Runs every contender once a round, the order turned by one each round, so that neither a disturbance from outside
 * nor a disk still busy with its neighbour's writes falls on the same contender every time. A fault does not end the
 * others' rounds, and is never left out. Where rounds take longer than planned, the last ones are left out, but never the
 * first. What `measure` starts ends with it.
 */
export async function alternate<Contender extends Entrant, Round = Figures>(
  { options, within }: Pick<Run, 'options' | 'within'>,
  { scenario, level, seconds }: Plan,
  contenders: readonly Contender[],
  measure: (contender: Contender, run: Run, round: number) => Promise<Round>,
): Promise<Trial<Round>[]> {
  const pairs = contenders.map((contender) => {
    const [rounds, faults]: [(Round | null)[], string[]] = [[], []]
    return { contender, trial: { scenario, level, contender: contender.name, rounds, faults } }
  })
  const mostOf = ({ mostRounds = options.rounds }: Entrant) => Math.min(mostRounds, options.rounds)
  const most = Math.max(...contenders.map(mostOf))
  const startedAt = performance.now()
  for (let round = 0; round < most; round += 1) {
    const planned = round * contenders.length * seconds * 1000
    if (round > 0 && performance.now() - startedAt > planned * LATE) break
    const turn = round % pairs.length
    for (const { contender, trial } of [...pairs.slice(turn), ...pairs.slice(0, turn)]) {
      trial.rounds[round] = null
      if (round >= mostOf(contender) || trial.faults.length >= MAX_FAULTS) continue
      progress.show(`${scenario}, ${level}: ${contender.name}`)
      try {
        trial.rounds[round] = await within((run) => measure(contender, run, round))
      } catch (error) {
        trial.faults.push((error as Error).message)
      }
    }
  }
  return pairs.map(({ trial }) => trial)
}
