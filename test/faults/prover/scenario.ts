import type { Bench } from './bench.ts'
import type { Faults } from './checker.ts'
import type { Plant } from './plants.ts'
import type { Staging } from './setup.ts'

/** One fault, and what must hold under it. */
export interface Scenario extends Staging {
  /** As on the command line and in the table: lower case, words joined by hyphens. */
  readonly name: string
  /** What happens and what must hold, in one line, for the report. */
  readonly promise: string
  /** Whether the quick half includes it. */
  readonly quick: boolean
  /** A bug in the service, and the figure in which the checker has to find it. */
  readonly planted: { readonly bug: Plant; readonly foundIn: keyof Faults }
  /** Why it can't run here; undefined where it can. */
  skip?(): string | undefined
  /** Causes the fault, with the load running before, during and after. What must hold of it goes to `bench.must`. */
  run(bench: Bench): Promise<void>
}
