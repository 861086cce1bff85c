import { join } from 'node:path'
import { delivery } from './delivery.ts'
import { build, root } from './harness/build.ts'
import { circumstances } from './harness/circumstances.ts'
import { startCluster } from './harness/postgres.ts'
import { idle } from './idle.ts'
import { latency } from './latency.ts'
import { type Options, parseOptions, USAGE } from './options.ts'
import { Progress } from './report/progress.ts'
import { type Part, type PartResults, ResultStore } from './report/results.ts'
import { sectionText } from './report/section.ts'
import { sectionOf } from './report/sections.ts'
import { writePages } from './report/write.ts'
import type { PartRunner } from './run.ts'
import { scale } from './scale.ts'
import { storm } from './storm.ts'
import { writes } from './writes.ts'

const RUNNERS: Readonly<Record<Part, PartRunner>> = { writes, delivery, latency, idle, storm, scale }
const store = new ResultStore((part) => join(root, 'bench', 'results', `${part}.json`))

/** Whether Glimpse itself came through without a fault. */
async function main(options: Options): Promise<boolean> {
  const measured = options.parts.length === 0 ? [] : await measureAll(options)
  if (!options.write) return faultless(measured)
  for (const path of await writePages(root, await store.load())) console.error(`wrote ${path}`)
  return faultless(measured)
}

async function measureAll(options: Options): Promise<PartResults[]> {
  // First of all: from here on it is this run that loads the machine.
  const around = circumstances(command(process.argv.slice(2)))
  await build()
  const cluster = await startCluster()
  const progress = new Progress(options.parts.reduce((sum, part) => sum + RUNNERS[part].seconds(options), 0))
  let interrupted = false
  const interrupt = async () => {
    interrupted = true
    await cluster.stop()
    process.exit(130)
  }
  process.once('SIGINT', interrupt)
  process.once('SIGTERM', interrupt)
  const measured: PartResults[] = []
  try {
    for (const part of options.parts) {
      const startedAt = performance.now()
      // A part that cannot be measured at all is told; the other parts still run.
      const outcome = await RUNNERS[part].measure({ options, cluster, progress }).catch((error: Error) => ({
        trials: [],
        absent: [`${part} was not measured: ${error.message}`],
      }))
      // What a run measured while it was being torn down is no result.
      if (interrupted) break
      const seconds = Math.round((performance.now() - startedAt) / 1000)
      const results: PartResults = {
        part,
        ...around,
        seconds,
        quick: options.quick,
        postgres: cluster.settings,
        ...outcome,
      }
      progress.clear()
      console.log(sectionText(sectionOf(results)))
      measured.push(results)
      // At once: what a later part does to the run, or somebody's Ctrl-C, costs no figure that is there already.
      if (options.write && !(await store.save(results)))
        console.error(`${part}: nothing was measured; the earlier results stay`)
    }
  } finally {
    progress.clear()
    await cluster.stop()
  }
  return measured
}

function command(args: readonly string[]): string {
  return args.length === 0 ? 'npm run bench' : `npm run bench -- ${args.join(' ')}`
}

/** A peer that fails is reported and no fault of ours; that Glimpse fails, or was not measured, is one. */
function faultless(measured: readonly PartResults[]): boolean {
  const ours = /^Glimpse|^\d+ instances?$/
  return measured.every(
    ({ part, trials, absent }) =>
      !absent.some((line) => ours.test(line) || line.startsWith(`${part} was not measured`)) &&
      trials.every(({ contender, faults }) => faults.length === 0 || !ours.test(contender)),
  )
}

function options(): Options {
  try {
    return parseOptions(process.argv.slice(2))
  } catch (error) {
    console.error(`${(error as Error).message}\n${USAGE}`)
    process.exit(2)
  }
}

try {
  process.exitCode = (await main(options())) ? 0 : 1
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
}
