import { setTimeout as sleep } from 'node:timers/promises'
import { signToken } from '../../support/token.ts'
import type { Bench } from './bench.ts'

/** Long enough for writes to fail and for the drivers to back off. */
const OUTAGE_MS = 1500
const ANSWER_MS = 3000
const BACK_MS = 5000

/** Ends Postgres, looks at what the service does without it, starts it again and sees that everybody is back in 5 s. */
export async function withoutPostgres(bench: Bench, end: () => Promise<void>): Promise<void> {
  await end()
  const outage = sleep(OUTAGE_MS)
  await Promise.all(bench.instances.map((instance) => mustAnswer503(bench, instance.url)))
  await outage
  await bench.postgres.start()
  const acceptingAt = performance.now()
  const left = () => BACK_MS - (performance.now() - acceptingAt)
  bench.must(await bench.untilReady(left()), 'every instance is ready 5 s after Postgres accepts')
  bench.must(await bench.crowd.untilLive(left()), 'every client is live 5 s after Postgres accepts')
  bench.must(await bench.untilCaughtUp(left()), 'every client has everything 5 s after Postgres accepts')
  bench.took('everybody has everything after Postgres accepts', performance.now() - acceptingAt)
}

async function mustAnswer503(bench: Bench, url: string): Promise<void> {
  const [author = ''] = bench.authors
  const askedAt = performance.now()
  const response = await fetch(new URL(`/stories/${bench.stories.get(author)}/view`, url), {
    method: 'POST',
    headers: { authorization: `Bearer ${await signToken('somebody')}` },
  }).catch((error: Error) => error)
  if (response instanceof Error) {
    bench.must(false, `without Postgres a POST is answered at all: ${response.message} ${response.cause}`)
    return
  }
  await response.arrayBuffer()
  const tookMs = performance.now() - askedAt
  bench.must(response.status === 503, `without Postgres a POST answers 503, not ${response.status}`)
  bench.must(response.headers.has('retry-after'), 'the 503 says when to try again')
  bench.took('a POST is answered 503 meanwhile', tookMs)
  bench.must(tookMs <= ANSWER_MS, `the 503 comes within ${ANSWER_MS} ms, not ${Math.round(tookMs)}`)
}
