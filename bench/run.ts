import type { Cluster } from './harness/postgres.ts'
import type { Options } from './options.ts'
import type { Progress } from './report/progress.ts'
import type { Table } from './report/table.ts'

/** What every part is given. */
export interface Run {
  readonly options: Options
  readonly cluster: Cluster
  readonly progress: Progress
}

/** A part of the benchmark: how many measurements it takes, and the tables they give. */
export interface PartRunner {
  steps(options: Options): number
  measure(run: Run): Promise<Table[]>
}
