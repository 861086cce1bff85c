/** Median, smallest and largest of the rounds. */
export interface Spread {
  readonly median: number
  readonly min: number
  readonly max: number
}

export function spread(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b)
  const at = (index: number) => sorted[index] ?? Number.NaN
  const middle = (sorted.length - 1) / 2
  return {
    median: (at(Math.floor(middle)) + at(Math.ceil(middle))) / 2,
    min: at(0),
    max: at(sorted.length - 1),
  }
}

/** What the rounds of one contender gave. A fault does not end the others' rounds, and is never left out. */
export interface Outcome<Result> {
  readonly results: Result[]
  readonly faults: string[]
}

/**
 * Runs every contender once a round, the order turned by one each round, so that neither a disturbance from outside
 * nor a disk still busy with its neighbour's writes falls on the same contender every time.
 */
export async function alternate<Contender extends { readonly name: string }, Result>(
  contenders: readonly Contender[],
  rounds: number,
  measure: (contender: Contender, round: number) => Promise<Result>,
): Promise<Map<string, Outcome<Result>>> {
  const outcomes = new Map<string, Outcome<Result>>(
    contenders.map(({ name }) => [name, { results: [], faults: [] }]),
  )
  for (let round = 0; round < rounds; round += 1) {
    const turn = round % contenders.length
    for (const contender of [...contenders.slice(turn), ...contenders.slice(0, turn)]) {
      const outcome = outcomes.get(contender.name) as Outcome<Result>
      try {
        outcome.results.push(await measure(contender, round))
      } catch (error) {
        outcome.faults.push(error instanceof Error ? error.message : String(error))
      }
    }
  }
  return outcomes
}

/** The faults of every contender, a line each, for the report. */
export function faultLines(scenario: string, outcomes: ReadonlyMap<string, Outcome<unknown>>): string[] {
  return [...outcomes].flatMap(([name, { faults }]) =>
    faults.map((fault) => `${scenario}, ${name}: ${fault}`),
  )
}

/** The spread of one figure over an outcome's rounds. */
export function spreadOf<Result>(outcome: Outcome<Result>, pick: (result: Result) => number): Spread {
  return spread(outcome.results.map(pick))
}
