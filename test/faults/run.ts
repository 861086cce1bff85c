import { Bench } from './prover/bench.ts'
import { type Build, copyBuild } from './prover/build.ts'
import type { Figures } from './prover/checker.ts'
import { PostgresServer } from './prover/postgres-server.ts'
import type { Scenario } from './prover/scenario.ts'
import { setupOf } from './prover/setup.ts'

/** How one run of a scenario went. */
export interface Outcome {
  readonly scenario: Scenario
  /** Whether a bug was planted that had to be found. */
  readonly planted: boolean
  /** Why it could not run here. */
  readonly skipped?: string
  readonly seconds: number
  readonly figures: Figures | undefined
  /** Kept its promise or, where a bug was planted, was found out. */
  readonly ok: boolean
  /** What went wrong, a line each; of a planted run, what the checker found. */
  readonly findings: readonly string[]
  /** Figures of the scenario's own. */
  readonly notes?: readonly string[]
}

/** Runs scenarios one after the other on servers that are started once. */
export class Runner {
  readonly #quick: boolean
  readonly #checked: boolean
  readonly #progress: (text: string) => void
  readonly #postgres: PostgresServer
  readonly #build: Build

  private constructor(options: RunnerOptions, postgres: PostgresServer, build: Build) {
    this.#quick = options.quick
    this.#checked = options.checked ?? true
    this.#progress = options.progress
    this.#postgres = postgres
    this.#build = build
  }

  static async create(options: RunnerOptions): Promise<Runner> {
    return new Runner(options, await PostgresServer.create(), await copyBuild())
  }

  /** Runs the service as it is: every violation is a finding. */
  async prove(scenario: Scenario): Promise<Outcome> {
    const skipped = scenario.skip?.()
    if (skipped !== undefined) return skip(scenario, false, skipped)
    const { figures, findings, notes, seconds } = await this.#run(scenario, this.#build, false)
    return { scenario, planted: false, seconds, figures, findings, notes, ok: findings.length === 0 }
  }

  /** Runs the service with the scenario's bug in it. A checker that finds nothing then proves nothing. */
  async proveChecker(scenario: Scenario): Promise<Outcome> {
    const skipped = scenario.skip?.()
    if (skipped !== undefined) return skip(scenario, true, skipped)
    const { bug, foundIn } = scenario.planted
    const build = await copyBuild(bug.edits, { checked: this.#checked })
    try {
      const { figures, findings, seconds } = await this.#run(scenario, build, true)
      const ok = figures !== undefined && figures[foundIn] > 0
      const missed = ok ? [] : [`the checker did not find "${bug.name}" in ${foundIn}`]
      return { scenario, planted: true, seconds, figures, findings: [...missed, ...findings], ok }
    } finally {
      await build.remove()
    }
  }

  /** The server's, such as `18.4`. */
  postgresVersion(): Promise<string> {
    return this.#postgres.version()
  }

  async close(): Promise<void> {
    await this.#postgres.close()
    await this.#build.remove()
  }

  async #run(scenario: Scenario, build: Build, planted: boolean) {
    const startedAt = performance.now()
    const { postgres: settings, shiftedClock } = setupOf(scenario, this.#quick)
    const own =
      settings === undefined && !shiftedClock
        ? undefined
        : await PostgresServer.create(settings, shiftedClock)
    const server = own ?? this.#postgres
    try {
      const bench = await Bench.open({
        scenario,
        quick: this.#quick,
        planted,
        main: build.main,
        postgres: server,
        progress: (text) => this.#progress(`${scenario.name}: ${text}`),
      })
      try {
        await scenario.run(bench)
        const { figures, violations } = await bench.verify()
        return { figures, findings: violations, notes: bench.notes, seconds: secondsSince(startedAt) }
      } catch (error) {
        // That an instance died is the likelier reason for whatever failed after it.
        throw bench.deaths.length === 0 ? error : new Error(bench.deaths.join('\n'), { cause: error })
      } finally {
        await server.ensureRunning()
        await bench.close()
      }
    } catch (error) {
      // A bench that breaks down has proven nothing, in a planted run neither.
      const finding = `the bench broke down: ${(error as Error).stack}`
      return { figures: undefined, findings: [finding], notes: [], seconds: secondsSince(startedAt) }
    } finally {
      await own?.close()
    }
  }
}

export interface RunnerOptions {
  readonly quick: boolean
  /** Whether the types of planted bugs are checked; they are. */
  readonly checked?: boolean
  readonly progress: (text: string) => void
}

function skip(scenario: Scenario, planted: boolean, skipped: string): Outcome {
  return { scenario, planted, skipped, seconds: 0, figures: undefined, findings: [], ok: true }
}

function secondsSince(startedAt: number): number {
  return (performance.now() - startedAt) / 1000
}
