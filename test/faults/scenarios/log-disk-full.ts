import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Bench } from '../prover/bench.ts'
import { until } from '../prover/crowd.ts'
import { diesOfItsLog } from '../prover/plants-machine.ts'
import { lostLines, makeLogLines } from '../prover/refused.ts'
import type { Scenario } from '../prover/scenario.ts'
import { SmallDisk, whyNoMount } from '../prover/small-disk.ts'

const DISK_MB = 4
const TOLD = '"msg":"the log could not be written for a time"'

export const scenario: Scenario = {
  name: 'log-disk-full',
  promise:
    "the disk under the instances' logs is full: lines are lost and counted, no write, stream or process is; with space the log goes on and says how many",
  quick: false,
  skip: whyNoMount,
  setup: { environment: { LOG_LEVEL: 'trace', MAX_EVENT_LOOP_DELAY_MS: '10000' } },
  planted: { bug: diesOfItsLog, foundIn: 'unkept' },
  async run(bench) {
    const disk = await SmallDisk.create(DISK_MB)
    const files = bench.instances.map((_, i) => join(disk.folder, `${i}.log`))
    try {
      for (const [i, instance] of bench.instances.entries()) await instance.moveTo({ log: files[i] ?? '' })
      bench.must(await bench.crowd.untilLive(5000), 'everybody is live on instances that log to the disk')
      const ends = bench.crowd.ends
      await bench.repeat(3, 1, async (nth) => {
        await whileFull(bench, disk)
        await bench.within(5000, 'every log goes on and says what was lost', (ms) =>
          until(ms, async () => (await Promise.all(files.map(timesTold))).every((times) => times > nth)),
        )
      })
      bench.must(bench.crowd.ends === ends, 'nobody loses a connection')
    } finally {
      await Promise.all(bench.instances.map((instance) => instance.moveTo({})))
      await disk.discard()
    }
  },
}

async function whileFull(bench: Bench, disk: SmallDisk): Promise<void> {
  const { instances, http } = bench
  const before = await Promise.all(instances.map(lostLines))
  const failures = http.failures
  await disk.fill()
  try {
    const answered = await Promise.all(instances.map((instance) => makeLogLines(instance, 200)))
    bench.must(!answered.includes(false), 'requests are answered while no line can be written')
    if (answered.includes(false)) return
    const lost = (await Promise.all(instances.map(lostLines))).map((lines, i) => lines - (before[i] ?? 0))
    bench.must(!lost.some((lines) => lines < 100), `lost lines are counted: ${lost.join(', ')}`)
    bench.note(`${lost.join(', ')} lines were lost`)
    bench.must(await bench.untilCaughtUp(5000), 'events arrive while no line can be written')
    await sleep(1000)
    bench.must(http.failures === failures, `${http.failures - failures} writes failed`)
  } finally {
    await disk.free()
    // What is said of lost lines is said with the next line.
    for (const instance of instances) await makeLogLines(instance, 50)
  }
}

async function timesTold(file: string): Promise<number> {
  return (await readFile(file, 'utf8')).split(TOLD).length - 1
}
