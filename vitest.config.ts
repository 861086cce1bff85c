import { configDefaults, defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** These take longest: begun last, they would be waited for by all but one worker. */
const LONGEST = ['faults/quick', 'browser/', 'delivery/', 'security/', 'client/faults', 'cli/', 'embedded/']

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification) => {
      const found = LONGEST.findIndex((part) => moduleId.includes(`/test/${part}`))
      return found === -1 ? LONGEST.length : found
    }
    return (await super.sort(files)).toSorted((a, b) => rank(a) - rank(b))
  }
}

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // `npm run test:field` runs these, with what they need.
    exclude: [
      ...configDefaults.exclude,
      ...(process.env.GLIMPSE_FIELD === undefined ? ['test/field/**'] : []),
    ],
    globalSetup: ['test/support/global-setup.ts'],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // How long something is waited for that does happen says nothing; a machine that others share is slow now and then.
    expect: { poll: { timeout: 20_000, interval: 25 } },
    // More than the two cores of a small machine: most tests wait for a clock of the service for a good part of their time.
    maxWorkers: 3,
    sequence: { sequencer: LongestFirst },
    // A machine that others share stands still for seconds now and then: what fails twice is broken, and a retry is reported.
    retry: process.env.CI === 'true' ? 1 : 0,
  },
})
