import type { Cluster } from './harness/postgres.ts'
import type { Options } from './options.ts'
import type { Progress } from './report/progress.ts'
import type { Outcome } from './report/results.ts'

/** What every part is given. */
export interface Run {
  readonly options: Options
  readonly cluster: Cluster
  readonly progress: Progress
}

/** A part of the benchmark: how long it should take, and what it measures. */
export interface PartRunner {
  seconds(options: Options): number
  measure(run: Run): Promise<Outcome>
}
