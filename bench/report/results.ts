import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { ratios, type Spread, spread } from './statistics.ts'

export const PARTS = ['writes', 'delivery', 'latency', 'idle', 'storm', 'scale'] as const
export type Part = (typeof PARTS)[number]

/** What one round of one contender gave, by name; units are in the names (`p50Ms`, `serverUs`). */
export type Figures = Readonly<Record<string, number>>

/** One contender in one scenario, at one level of it (connections, users, a rate). */
export interface Trial {
  readonly scenario: string
  readonly level: number
  readonly contender: string
  /** In the order of the rounds; null where the round failed, so that rounds of two contenders stay pairs. */
  readonly rounds: readonly (Figures | null)[]
  /** What went wrong, a line each. */
  readonly faults: readonly string[]
}

/** What a part measured, before anything is made of it. */
export interface Outcome {
  readonly trials: readonly Trial[]
  /** Peers that were not run, and why: not installed here, or not able to start. */
  readonly absent: readonly string[]
}

/** Where and how a part was measured. */
export interface Circumstances {
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

export interface PartResults extends Circumstances, Outcome {
  readonly part: Part
}

export type Results = Partial<Record<Part, PartResults>>

/** Asks a part's trials for figures. A contender that was not measured gives NaN, which reads as a dash. */
export class View {
  readonly trials: readonly Trial[]

  constructor(trials: readonly Trial[]) {
    this.trials = trials
  }

  levels(scenario: string): number[] {
    const levels = this.trials.filter((trial) => trial.scenario === scenario).map(({ level }) => level)
    return [...new Set(levels)].sort((a, b) => a - b)
  }

  contenders(scenario: string, level?: number): string[] {
    const named = this.trials
      .filter((trial) => trial.scenario === scenario && (level === undefined || trial.level === level))
      .map(({ contender }) => contender)
    return [...new Set(named)]
  }

  values(scenario: string, level: number, contender: string, figure: string): number[] {
    const trial = this.trials.find(
      (one) => one.scenario === scenario && one.level === level && one.contender === contender,
    )
    // NaN has no JSON, so it was written as null.
    return (trial?.rounds ?? []).map((round) => round?.[figure] ?? Number.NaN)
  }

  spread(scenario: string, level: number, contender: string, figure: string): Spread {
    return spread(this.values(scenario, level, contender, figure))
  }

  /** `contender`'s figure over `base`'s, round by round. */
  ratio(scenario: string, level: number, contender: string, base: string, figure: string): Spread {
    return ratios(this.values(scenario, level, contender, figure), this.values(scenario, level, base, figure))
  }
}

/** One file a part, so that a run of one part leaves the others' figures as they were. */
export class ResultStore {
  readonly #path: (part: Part) => string

  constructor(path: (part: Part) => string) {
    this.#path = path
  }

  async load(): Promise<Results> {
    const results: Results = {}
    for (const part of PARTS) {
      const text = await readFile(this.#path(part), 'utf8').catch((error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT') return undefined
        throw error
      })
      if (text !== undefined) results[part] = JSON.parse(text) as PartResults
    }
    return results
  }

  /** A part that gave no figure at all is not kept: what an earlier run measured says more. */
  async save(results: PartResults): Promise<boolean> {
    if (!results.trials.some(({ rounds }) => rounds.some((round) => round !== null))) return false
    const path = this.#path(results.part)
    await mkdir(dirname(path), { recursive: true })
    await writeFile(path, `${JSON.stringify(results, short, 1)}\n`)
    return true
  }
}

/** Six digits say more than a noisy machine can mean. */
function short(_key: string, value: unknown): unknown {
  return typeof value === 'number' ? Number(value.toPrecision(6)) : value
}
