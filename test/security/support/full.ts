import type { TestContext } from 'vitest'

declare module 'vitest' {
  interface TaskMeta {
    /** How many cases one test stands for in the table of `npm run test:security`; one unless said otherwise. */
    cases?: number
    /** A word on how the cases went, such as the behaviours that a suite counts. */
    notes?: string[]
  }
}

/** Whether the suites run in full, as `npm run test:security` has it; `npm test` runs their quick part. */
export const FULL = process.env.GLIMPSE_SECURITY === 'full'

/** How often something is tried: seldom in `npm test`, often in `npm run test:security`. */
export function times(quick: number, full: number): number {
  return FULL ? full : quick
}

/** Says how many cases the running test went through, and perhaps how. */
export function countCases({ task }: TestContext, cases: number, ...notes: string[]): void {
  task.meta.cases = cases
  task.meta.notes = notes
}
