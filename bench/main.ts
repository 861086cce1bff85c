import { scaling } from '../scripts/scaling/page.ts'
import { build, circumstances, root } from './harness/build.ts'
import { startCluster } from './harness/postgres.ts'
import { progress } from './harness/rounds.ts'
import { BENCH, writePages } from './report/pages.ts'
import { partText } from './report/part.ts'
import { loadResults, type PartResults, saveResults, type Trial } from './report/results.ts'
import { type Options, parseOptions, Run } from './run.ts'

/** Whether Glimpse itself came through without a fault. */
async function main(options: Options): Promise<boolean> {
  const measured = options.parts.length === 0 ? [] : await measureAll(options)
  if (options.write) {
    const results = await loadResults(root)
    for (const path of await writePages(root, results, scaling(results))) console.error(`wrote ${path}`)
  }
  return measured.every(isFaultless)
}

async function measureAll(options: Options): Promise<PartResults[]> {
  // First of all: from here on it is this run that loads the machine.
  const around = circumstances(process.argv.slice(2))
  await build()
  const cluster = await startCluster()
  let interrupted = false
  for (const signal of ['SIGINT', 'SIGTERM'])
    process.once(signal, async () => {
      interrupted = true
      await cluster.stop()
      process.exit(130)
    })
  const measured: PartResults[] = []
  try {
    for (const part of options.parts) {
      const startedAt = performance.now()
      const run = new Run({ options, cluster, absent: [] })
      const trials: Trial[] = []
      const measuring = run.within(async (own) => {
        for await (const trial of BENCH[part].measure(own)) trials.push(trial)
      })
      // What was measured before a part failed is kept, and the other parts still run.
      await measuring.catch((error: Error) =>
        run.absent.push(`Glimpse's ${part}, not to the end: ${error.message}`),
      )
      // What a run measured while it was being torn down is no result.
      if (interrupted) break
      const seconds = Math.round((performance.now() - startedAt) / 1000)
      const setting = { ...around, seconds, quick: options.quick, postgres: cluster.settings }
      const results: PartResults = { part, ...setting, trials, absent: run.absent }
      progress.clear()
      console.log(partText(BENCH[part], results))
      measured.push(results)
      // At once: what a later part does to the run, or somebody's Ctrl-C, costs no figure that is there already.
      if (options.write && !(await saveResults(root, results)))
        console.error(`${part}: nothing was measured; the earlier results stay`)
    }
  } finally {
    await cluster.stop()
  }
  return measured
}

/** A peer that fails is reported and no fault of ours; that Glimpse fails, or was not measured, is one. */
function isFaultless({ trials, absent }: PartResults): boolean {
  const ours = /^Glimpse|^LISTEN|^NATS,/
  return (
    !absent.some((line) => ours.test(line)) &&
    trials.every(({ contender, faults }) => faults.length === 0 || !ours.test(contender))
  )
}

try {
  process.exitCode = (await main(parseOptions(process.argv.slice(2)))) ? 0 : 1
} catch (error) {
  console.error((error as Error).message)
  process.exitCode = 1
}
