import { existsSync } from 'node:fs'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ratios, type Spread, spread } from './statistics.ts'

export const PARTS = ['writes', 'delivery', 'latency', 'idle', 'storm', 'scale'] as const
export type Part = (typeof PARTS)[number]

/** What one round of one contender gave, by name; units are in the names (`p50Ms`, `serverUs`). */
export type Figures = Readonly<Record<string, number>>

/** One contender in one scenario, at one level of it (connections, users, a rate). */
export interface Trial<Round = Figures> {
  readonly scenario: string
  readonly level: number
  readonly contender: string
  /** In the order of the rounds; null where the round failed, so that rounds of two contenders stay pairs. */
  readonly rounds: readonly (Round | null)[]
  /** What went wrong, a line each. */
  readonly faults: readonly string[]
}

/** What a part measured, where and how. */
export interface PartResults {
  readonly part: Part
  readonly trials: readonly Trial[]
  /** Who was not run, and why: not installed here, or not able to start. */
  readonly absent: readonly string[]
  readonly at: string
  readonly commit: string
  readonly command: string
  readonly seconds: number
  readonly machine: string
  readonly node: string
  /** The machine's load average over the minute before the run: what others were doing on it. */
  readonly loadBefore: number
  readonly postgres: Readonly<Record<string, string>>
  /** Shorter rounds and fewer of them: a rehearsal. */
  readonly quick: boolean
}

export type Results = Partial<Record<Part, PartResults>>

/** Asks a part's trials for figures. What was not measured is NaN, which reads as a dash. */
export class View {
  readonly quick: boolean
  readonly #trials: readonly Trial[]

  constructor({ trials, quick }: Pick<PartResults, 'trials' | 'quick'> = { trials: [], quick: false }) {
    this.#trials = trials
    this.quick = quick
  }

  levels(scenario: string): number[] {
    const levels = this.#trials.filter((trial) => trial.scenario === scenario).map(({ level }) => level)
    return [...new Set(levels)].sort((a, b) => a - b)
  }

  /** One contender at one level of a scenario. */
  row(scenario: string, level: number, name: string) {
    const trial = this.#at(scenario, level).find(({ contender }) => contender === name)
    // NaN has no JSON, so it was written as null.
    const values = (...figures: string[]) =>
      (trial?.rounds ?? []).map((round) =>
        figures.reduce((sum, figure) => sum + (round?.[figure] ?? Number.NaN), 0),
      )
    const spreadOf = (figure: string, factor = 1): Spread => spread(values(figure).map((one) => one * factor))
    return {
      name,
      level,
      /** In the order of the rounds; of several figures, their sum. */
      values,
      /** `factor`: into another unit. */
      spread: spreadOf,
      median: (figure: string): number => spreadOf(figure).median,
      /** This one's figure over that of `base` at the same level, round by round. */
      over: (base: string, figure: string): Spread =>
        ratios(values(figure), this.row(scenario, level, base).values(figure)),
    }
  }

  /** All contenders of a scenario, level by level. */
  rows(scenario: string, levels = this.levels(scenario)): Row[] {
    return levels.flatMap((level) =>
      this.#at(scenario, level).map(({ contender }) => this.row(scenario, level, contender)),
    )
  }

  #at(scenario: string, level: number) {
    return this.#trials.filter((trial) => trial.scenario === scenario && trial.level === level)
  }
}

export type Row = ReturnType<View['row']>

/** One file a part, so that a run of one part leaves the others' figures as they were. */
const pathOf = (root: string, part: Part) => join(root, 'bench', 'results', `${part}.json`)

/** What earlier runs left below the root of the repository. */
export async function loadResults(root: string): Promise<Results> {
  const results: Results = {}
  for (const part of PARTS)
    if (existsSync(pathOf(root, part)))
      results[part] = JSON.parse(await readFile(pathOf(root, part), 'utf8')) as PartResults
  return results
}

/** A part that gave no figure at all is not kept: what an earlier run measured says more. */
export async function saveResults(root: string, results: PartResults): Promise<boolean> {
  if (!results.trials.some(({ rounds }) => rounds.some((round) => round !== null))) return false
  // Six digits say more than a noisy machine can mean.
  const short = (_key: string, value: unknown) =>
    typeof value === 'number' ? Number(value.toPrecision(6)) : value
  await mkdir(join(root, 'bench', 'results'), { recursive: true })
  await writeFile(pathOf(root, results.part), `${JSON.stringify(results, short, 1)}\n`)
  return true
}
