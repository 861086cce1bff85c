import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { configDefaults, defineConfig, type TestProjectInlineConfiguration } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** These take longest: begun last, they would be waited for by all but one worker. */
const LONGEST = [
  'security/ended',
  'security/bounded',
  'contract/durable-streams',
  'readme',
  'browser/client',
  'client/faults',
  'postgres/',
  'cli/tail',
  'store/migrate',
  'delivery/',
  'browser/',
  'security/',
  'cli/',
  'embedded/',
  'faults/',
  'bus/relay',
  'docs-protocol',
]

/**
 * Their tests take so long that the start of a process counts for little; some look at the whole process, and clients of others
 * go on asking after their tests have ended.
 */
const APART = /^test\/(?:(?:deployment|embedded|faults|field)\/|contract\/durable-streams)/

/** What stays in a process after its test, or finds there what others left: clocks, modules, globals. */
const STAYS = /useFakeTimers|vi\.mock\(|vi\.stub|\.setGlobal|process\.env\.\w+ =[^=]/

/** Whether the file, or a helper that it imports, does something that STAYS. */
function stays(path: string): boolean {
  const text = readFileSync(path, 'utf8')
  const helpers = [...text.matchAll(/from '(\.[^']*\/support\/[^']+)'/g)].map(([, name = '']) =>
    join(path, '..', name),
  )
  return STAYS.test(text) || helpers.some((helper) => STAYS.test(readFileSync(helper, 'utf8')))
}

/** Test files that can run in one process, one after the other. */
const SHARED = readdirSync('test', { recursive: true, encoding: 'utf8' })
  .map((name) => `test/${name}`)
  .filter((path) => path.endsWith('.test.ts') && !APART.test(path) && !stays(path))

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId, project }: TestSpecification) => {
      const found = LONGEST.findIndex((part) => moduleId.includes(`/test/${part}`))
      const length = found === -1 ? LONGEST.length : found
      // Together, for a process is handed on only to the next in the row.
      return project.config.isolate === false ? length + LONGEST.length + 1 : length
    }
    return (await super.sort(files)).toSorted((a, b) => rank(a) - rank(b))
  }
}

/** `npm run test:field`: some things beside each other, with browsers and installations among them. */
const inField = process.env.GLIMPSE_FIELD !== undefined

const inCi = process.env.CI === 'true'
/** A machine that others share may be half as fast as one's own: a limit ends what hangs, and measures nothing. */
const patience = inField ? 4 : inCi ? 2 : 1

const COMMON = {
  testTimeout: 30_000 * patience,
  hookTimeout: 60_000 * patience,
  // Tests that run at the same time in one file do nothing but wait.
  maxConcurrency: 10,
  // How long something is waited for that does happen says nothing.
  expect: { poll: { timeout: inCi ? 40_000 : 20_000, interval: 25 } },
  // A machine that others share stands still for seconds now and then: what fails twice is broken, and a retry is reported.
  retry: inCi ? 1 : 0,
}

const projects: TestProjectInlineConfiguration[] = [
  {
    test: {
      ...COMMON,
      name: 'a process each',
      include: ['test/**/*.test.ts'],
      exclude: [
        ...configDefaults.exclude,
        ...SHARED,
        // `npm run test:field` runs these, with what they need.
        ...(inField ? [] : ['test/field/**']),
      ],
    },
  },
  // A process that imports the service works for two seconds before its first test.
  {
    test: {
      ...COMMON,
      name: 'one process',
      include: SHARED,
      isolate: false,
      setupFiles: ['test/support/tidy.ts'],
    },
  },
]

export default defineConfig({
  test: {
    projects,
    globalSetup: ['test/support/global-setup.ts'],
    // More than the two cores of a small machine: most tests wait for a clock of the service for most of their time.
    maxWorkers: inCi ? 4 : 5,
    sequence: { sequencer: LongestFirst },
  },
})
