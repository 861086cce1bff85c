import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { delivery } from './delivery.ts'
import { build, root } from './harness/build.ts'
import { startCluster } from './harness/postgres.ts'
import { idle } from './idle.ts'
import { latency } from './latency.ts'
import { type Options, type Part, parseOptions, USAGE } from './options.ts'
import { page } from './report/page.ts'
import { Progress } from './report/progress.ts'
import { type Table, toText } from './report/table.ts'
import type { PartRunner, Run } from './run.ts'
import { writes } from './writes.ts'

const RUNNERS: Readonly<Record<Part, PartRunner>> = { writes, delivery, latency, idle }

async function main(options: Options): Promise<boolean> {
  await build()
  const cluster = await startCluster()
  const progress = new Progress(options.parts.reduce((sum, part) => sum + RUNNERS[part].steps(options), 0))
  const tables: Table[] = []
  const interrupted = async () => {
    await cluster.stop()
    process.exit(130)
  }
  process.once('SIGINT', interrupted)
  process.once('SIGTERM', interrupted)
  try {
    for (const part of options.parts) {
      const measured = await measure(part, { options, cluster, progress })
      progress.clear()
      for (const table of measured) console.log(toText(table))
      tables.push(...measured)
    }
  } finally {
    progress.clear()
    await cluster.stop()
  }
  if (options.write) {
    const command = `npm run bench -- ${process.argv.slice(2).join(' ')}`
    await writeFile(join(root, 'docs', 'benchmarks.md'), page(tables, cluster.settings, command))
  }
  return tables.every((table) => table.faults.length === 0)
}

/** A part that cannot be measured at all is a fault in the report; the other parts still run. */
async function measure(part: Part, run: Run): Promise<Table[]> {
  try {
    return await RUNNERS[part].measure(run)
  } catch (error) {
    const fault = error instanceof Error ? error.message : String(error)
    return [{ title: part, note: 'Not measured.', columns: ['contender'], rows: [], faults: [fault] }]
  }
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
