import { parseArgs } from 'node:util'
import type { Cluster } from './harness/postgres.ts'
import { PARTS } from './report/results.ts'

export type Options = ReturnType<typeof parseOptions>

/** What every measurement is given. What it starts ends with it, however it ends. */
export class Run {
  readonly options: Options
  readonly cluster: Cluster
  /** Who could not be measured, and why, a line each. */
  readonly absent: string[]
  readonly #ends: (() => unknown)[] = []

  constructor(shared: Pick<Run, 'options' | 'cluster' | 'absent'>) {
    this.options = shared.options
    this.cluster = shared.cluster
    this.absent = shared.absent
  }

  /** Has `end` called at the end of this run. */
  defer(end: () => unknown): void {
    this.#ends.push(end)
  }

  /** A shorter run within this one: what `work` starts ends with it. */
  readonly within = async <T>(work: (run: Run) => Promise<T>): Promise<T> => {
    const run = new Run(this)
    try {
      return await work(run)
    } finally {
      await Promise.all(run.#ends.map((end) => end()))
    }
  }
}

const USAGE = `npm run bench -- [${PARTS.join(' | ')} | report …] [--quick] [--write | --no-write] [--profile folder]

All parts without a name; report only makes the pages anew from the results in bench/results. --quick is a rehearsal:
shorter, one round, everything at a smaller size, and written only with --write.`

/** Throws with a line for the person at the terminal. */
export function parseOptions(args: readonly string[]) {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    allowNegative: true,
    options: {
      quick: { type: 'boolean', default: false },
      write: { type: 'boolean' },
      profile: { type: 'string' },
    },
  })
  const unknown = positionals.find((name) => ![...PARTS, 'report'].includes(name))
  if (unknown !== undefined) throw new Error(`no part is called ${unknown}\n${USAGE}`)
  const { quick, profile } = values
  return {
    /** None: only the pages are made anew, from the results that are there. */
    parts: PARTS.filter((part) => positionals.length === 0 || positionals.includes(part)),
    quick,
    /** Keep the results and make the pages and plots from them. A profile costs speed, so by default it is not kept. */
    write: values.write ?? (!quick && profile === undefined),
    rounds: quick ? 1 : 3,
    /** Folder for Glimpse's CPU profiles. */
    profile,
  }
}
