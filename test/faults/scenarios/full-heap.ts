import type { Socket } from 'node:net'
import type { Bench } from '../prover/bench.ts'
import { until } from '../prover/crowd.ts'
import { openStreams } from '../prover/opener.ts'
import { opensWhateverTheHeap } from '../prover/plants-machine.ts'
import type { Scenario } from '../prover/scenario.ts'

const HEAP_MB = 64
const HEAP_PERCENT = 55
/** Nearly twice what the heap has room for. */
const STREAMS = 3000

export const scenario: Scenario = {
  name: 'full-heap',
  promise:
    'more streams are opened than the heap has room for: the last are answered 503, nobody else notices, and once they left streams are taken again',
  quick: false,
  setup: {
    instances: 1,
    clients: { sse: 20, ws: 20, poll: 4 },
    rate: { http: 10, sql: 40 },
    environment: {
      NODE_OPTIONS: `--max-old-space-size=${HEAP_MB}`,
      MAX_HEAP_PERCENT: String(HEAP_PERCENT),
      // A machine with others to run is late; that is the scenario late-loop's.
      MAX_EVENT_LOOP_DELAY_MS: '10000',
    },
  },
  planted: { bug: opensWhateverTheHeap, foundIn: 'unkept' },
  async run(bench) {
    const ends = bench.crowd.ends
    await bench.repeat(3, 1, async (nth) => {
      const sockets = await fill(bench, `crowd-${nth}`)
      for (const socket of sockets) socket.destroy()
      await bench.within(30_000, 'streams are taken again', (ms) =>
        until(
          ms,
          async () => {
            const one = await openStreams(bench.instance(0).url, `after-${nth}`, { most: 1, refusals: 1 })
            for (const socket of one.sockets) socket.destroy()
            return one.sockets.length === 1
          },
          500,
        ),
      )
    })
    bench.must(bench.crowd.ends === ends, 'nobody loses a connection')
  },
}

async function fill(bench: Bench, who: string): Promise<readonly Socket[]> {
  const failures = bench.http.failures
  const { sockets, refused, unanswered } = await openStreams(bench.instance(0).url, who, {
    most: STREAMS,
    refusals: 30,
  })
  bench.must(refused > 0, `of ${STREAMS} streams some are refused with 503`)
  bench.must(unanswered === 0, `${unanswered} streams were not answered`)
  bench.must(await bench.untilCaughtUp(5000), 'events arrive while the heap is full')
  bench.must(bench.http.failures === failures, `${bench.http.failures - failures} writes failed`)
  bench.note(`${sockets.length} streams were opened in ${HEAP_MB} MB of heap before they were refused`)
  return sockets
}
