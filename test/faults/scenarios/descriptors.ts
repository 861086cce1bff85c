import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Bench } from '../prover/bench.ts'
import { keepsNoDescriptors } from '../prover/plants-machine.ts'
import type { Scenario } from '../prover/scenario.ts'

/** Of which 128 are kept: enough for the crowd of the bench. */
const DESCRIPTORS = 600

export const scenario: Scenario = {
  name: 'descriptors',
  promise:
    'strangers take every descriptor that clients may have, and then every session with Postgres ends: streams go on, Postgres is reached again in 5 s, and sockets are accepted once they leave',
  quick: false,
  setup: { clients: { sse: 100, ws: 100, poll: 0 }, authors: 40 },
  // While the instances are moved one after the other; what the siege may cost is said below.
  allowed: { lagMs: 60_000 },
  planted: { bug: keepsNoDescriptors, foundIn: 'unkept' },
  async run(bench) {
    for (const instance of bench.instances) await instance.moveTo({ descriptors: DESCRIPTORS })
    bench.must(await bench.crowd.untilLive(5000), 'everybody is live on instances with few descriptors')
    await bench.repeat(5, 1, async () => {
      const ends = bench.crowd.ends
      const siege = await besiege(bench)
      try {
        await bench.sql`
          select pg_terminate_backend(pid) from pg_stat_activity
           where datname = current_database() and application_name like 'glimpse%'`
        // Something has to happen while nobody listens.
        await sleep(200)
        await bench.within(5000, 'everybody has everything although no socket is left', (ms) =>
          bench.untilCaughtUp(ms),
        )
        bench.must(bench.crowd.ends === ends, 'nobody loses a connection')
      } finally {
        for (const socket of siege) socket.destroy()
      }
      await bench.within(5000, 'every instance is ready once the strangers left', (ms) =>
        bench.untilReady(ms),
      )
      const refused = await Promise.all(
        bench.instances.map((instance) => instance.metric('glimpse_limited_total{limit="sockets"}')),
      )
      bench.must(!refused.includes(0), 'sockets that were refused are counted')
    })
  },
}

/** Connects and says nothing, until each instance has closed some sockets at once. */
async function besiege({ instances }: Bench): Promise<readonly Socket[]> {
  const sockets: Socket[] = []
  for (const { url } of instances) {
    const { hostname, port } = new URL(url)
    for (let closed = 0, opened = 0; closed < 50 && opened < 2 * DESCRIPTORS; opened++) {
      const socket = connect(Number(port), hostname)
        .on('error', () => {})
        .on('close', () => closed++)
        .resume()
      sockets.push(socket)
      if (opened % 50 === 0) await sleep(20)
    }
  }
  return sockets
}
