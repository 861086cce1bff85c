import { setTimeout as sleep } from 'node:timers/promises'
import { signToken } from '../../support/token.ts'
import type { Bench } from '../prover/bench.ts'
import { CENSUS_ENVIRONMENT, type Census, takeCensus } from '../prover/census.ts'
import { churn } from '../prover/churner.ts'
import { until } from '../prover/crowd.ts'
import { Flood } from '../prover/flood.ts'
import { forgetsNobody } from '../prover/plants-load.ts'
import type { Scenario } from '../prover/scenario.ts'

const USERS = 500
const AT_ONCE = 100
/** More than a socket lingers after its last words, and than an idle HTTP connection is kept. */
const QUIET_MS = 7000
const GROWTH = 1.1
/** A timer that a connection leaves behind would be there thousands of times. */
const TIMERS_MORE = 10

export const scenario: Scenario = {
  name: 'churn',
  promise:
    '100,000 connects and disconnects, clean, abrupt and halfway: memory within 10 %, all else as at the start',
  quick: false,
  setup: {
    instances: 1,
    clients: { sse: 10, ws: 10, poll: 0 },
    authors: 10,
    environment: CENSUS_ENVIRONMENT,
  },
  planted: { bug: forgetsNobody, foundIn: 'unkept' },
  async run(bench) {
    const url = new URL(bench.instance(0).url)
    // Events come meanwhile, so that connections end with something unsent.
    const visits = async (times: number, who: string) => {
      const users = Array.from({ length: USERS }, (_, i) => `${who}-${i}`)
      const tokens = await Promise.all(users.map((user) => signToken(user)))
      const flood = new Flood(bench.sql, users, 100)
      const failed = await churn(url, tokens, times, AT_ONCE)
      await flood.stop()
      bench.must(failed === 0, `${failed} of ${times} visits did not get a stream`)
    }

    bench.progress('warming up')
    await visits(bench.brief ? 2000 : 20_000, 'early')
    const before = await quietCensus(bench)

    bench.progress('churn')
    bench.startWriting()
    const times = bench.brief ? 5000 : 100_000
    const startedAt = performance.now()
    await visits(times, 'passer-by')
    const seconds = (performance.now() - startedAt) / 1000
    const after = await quietCensus(bench)

    for (const [name, count] of Object.entries(before.exact))
      bench.must(after.exact[name] === count, `${name}: ${count} before, ${after.exact[name]} after`)
    const timers = after.timerObjects - before.timerObjects
    bench.must(timers <= TIMERS_MORE, `${timers} more timer objects than before`)
    const growth = after.bytes / before.bytes
    bench.must(growth <= GROWTH, `memory after gc went from ${before.bytes} to ${after.bytes} bytes`)
    bench.note(
      `${times} visits, ${Math.round(times / seconds)} a second; memory after gc ${megabytes(before.bytes)} → ` +
        `${megabytes(after.bytes)} MB (${percent(growth)}; RSS ${megabytes(before.rss)} → ${megabytes(after.rss)} MB); as before: ` +
        Object.entries(after.exact)
          .map(([name, count]) => `${count} ${name}`)
          .join(', '),
    )
    bench.startWriting()
    await sleep(1000)
  },
}

/** With the writers still and the passers-by gone: only the clients that stay are left. */
async function quietCensus(bench: Bench): Promise<Census> {
  await bench.stopWriting()
  // Its idle connections are as many as there were requests at once.
  bench.http.close()
  await sleep(QUIET_MS)
  let census = await takeCensus(bench.instance(0))
  // A sweep or a canary may be under way.
  await until(5000, async () => {
    const before = census
    census = await takeCensus(bench.instance(0))
    return JSON.stringify(before.exact) === JSON.stringify(census.exact)
  })
  return census
}

function megabytes(bytes: number): string {
  return (bytes / 2 ** 20).toFixed(1)
}

function percent(ratio: number): string {
  const change = ((ratio - 1) * 100).toFixed(1)
  return ratio < 1 ? `${change} %` : `+${change} %`
}
