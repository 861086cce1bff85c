import { setTimeout as sleep } from 'node:timers/promises'
import autocannon from 'autocannon'
import { answerJobs, coresMeter, pairOf, percentilesOf } from './jobs.ts'
import { signToken } from './streams.ts'

export interface WriteJob {
  readonly url: string
  readonly connections: number
  readonly warmUpMs: number
  readonly measureMs: number
  readonly stories: readonly string[]
  /** How many users view; each has one token. */
  readonly viewers: number
  /** Number of the first (story, viewer) pair of this round. */
  readonly from: number
  /** Each connection has one pair and repeats it; else no pair is sent twice. */
  readonly repeat: boolean
}

/** autocannon's client has this besides what its types declare. */
type RawClient = autocannon.Client & { getRequestBuffer(): Buffer }

const tokens: string[] = []

/**
 * One autocannon run of `POST /stories/{id}/view`. The requests' bytes are handed to autocannon ready-made: its
 * `setupRequest` merges header objects anew for every request, which would make the generator the bottleneck.
 * `failed` counts answers other than 2xx and requests without one, `sent` all requests, each with those of the warm-up;
 * `nextPair` is the first pair that no request of this round used.
 */
async function write({ url, connections, warmUpMs, measureMs, stories, viewers, from, repeat }: WriteJob) {
  while (tokens.length < viewers) tokens.push(signToken(`viewer_${tokens.length}`))
  const { host } = new URL(url)
  let [nextPair, sent, failed] = [from, 0, 0]
  const nextRequest = () => {
    const { story, viewer } = pairOf(nextPair++, viewers, stories)
    return Buffer.from(
      `POST /stories/${story}/view HTTP/1.1\r\nHost: ${host}\r\nAuthorization: Bearer ${tokens[viewer]}\r\nContent-Length: 0\r\n\r\n`,
      'latin1',
    )
  }
  const setupClient = (client: autocannon.Client) => {
    const repeated = repeat ? nextRequest() : undefined
    ;(client as RawClient).getRequestBuffer = () => {
      sent += 1
      return repeated ?? nextRequest()
    }
  }
  const duration = (warmUpMs + measureMs) / 1000 + 5
  const limits = { connections, duration, timeout: 20, sampleInt: 100 }
  // It is both, which its types do not say.
  const running = autocannon({ url, method: 'POST', ...limits, setupClient }) as autocannon.Instance &
    Promise<unknown>
  const latencies: number[] = []
  let measuring = false
  running.on('response', (_client, status, _bytes, ms) => {
    if (status < 200 || status > 299) failed += 1
    else if (measuring) latencies.push(ms)
  })
  running.on('reqError', () => {
    failed += 1
  })
  await sleep(warmUpMs)
  const [cores, startedAt] = [coresMeter(), performance.now()]
  measuring = true
  await sleep(measureMs)
  measuring = false
  const clientCores = cores()
  const perSecond = (latencies.length / (performance.now() - startedAt)) * 1000
  running.stop()
  await running
  const { p50Ms, p99Ms } = percentilesOf(latencies)
  return { sent, failed, nextPair, figures: { perSecond, p50Ms, p99Ms, clientCores } }
}

const jobs = answerJobs({ write })
export type WriteJobs = typeof jobs
