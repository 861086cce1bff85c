import autocannon from 'autocannon'
import { answerJobs, coresSince, cpuMark, sleep } from './jobs.ts'
import { percentile } from './percentiles.ts'
import { signToken } from './tokens.ts'

export interface WriteJob {
  readonly url: string
  readonly connections: number
  readonly warmUpMs: number
  readonly measureMs: number
  readonly stories: readonly string[]
  /** How many users view; each has one token. */
  readonly viewers: number
  /** Number of the first (story, viewer) pair of this round; no pair is sent twice. `repeat`: each connection has one pair and repeats it. */
  readonly pairs: { readonly from: number } | 'repeat'
}

export interface WriteResult {
  readonly perSecond: number
  /** Milliseconds. */
  readonly p50: number
  readonly p99: number
  /** Answers other than 2xx, and requests that failed or timed out, the warm-up's too. */
  readonly failed: number
  /** Requests sent, the warm-up's too. */
  readonly sent: number
  /** The first pair that no request of this round used. */
  readonly nextPair: number
  /** Cores the generator kept busy. */
  readonly cores: number
}

/** autocannon's client has this besides what its types declare. */
type RawClient = autocannon.Client & { getRequestBuffer(): Buffer }

const tokens: string[] = []

/**
 * One autocannon run of `POST /stories/{id}/view`. The requests' bytes are handed to autocannon ready-made: its
 * `setupRequest` merges header objects anew for every request, which would make the generator the bottleneck.
 */
async function run(job: WriteJob): Promise<WriteResult> {
  while (tokens.length < job.viewers) tokens.push(signToken(`viewer_${tokens.length}`))
  const host = new URL(job.url).host
  let pair = job.pairs === 'repeat' ? 0 : job.pairs.from
  let sent = 0
  const nextRequest = () => {
    sent += 1
    const bytes = request(job, host, pair)
    pair += 1
    return bytes
  }
  let instance!: autocannon.Instance
  const ended = new Promise<void>((resolve, reject) => {
    const options: autocannon.Options = {
      url: job.url,
      method: 'POST',
      connections: job.connections,
      duration: (job.warmUpMs + job.measureMs) / 1000 + 5,
      timeout: 20,
      sampleInt: 100,
      setupClient: (client) => {
        const repeated = job.pairs === 'repeat' ? nextRequest() : undefined
        const raw = client as RawClient
        raw.getRequestBuffer = () => {
          if (repeated === undefined) return nextRequest()
          sent += 1
          return repeated
        }
      },
    }
    instance = autocannon(options, (error) => (error ? reject(error) : resolve()))
  })
  const latencies: number[] = []
  let failed = 0
  let measuring = false
  instance.on('response', (_client, status, _bytes, ms) => {
    if (status < 200 || status > 299) failed += 1
    else if (measuring) latencies.push(ms)
  })
  instance.on('reqError', () => {
    failed += 1
  })
  await sleep(job.warmUpMs)
  const mark = cpuMark()
  measuring = true
  await sleep(job.measureMs)
  measuring = false
  const cores = coresSince(mark)
  const elapsedMs = performance.now() - mark.at
  instance.stop()
  await ended
  const p50 = percentile(latencies, 0.5)
  return {
    perSecond: (latencies.length / elapsedMs) * 1000,
    p50,
    p99: percentile(latencies, 0.99),
    failed,
    sent,
    nextPair: pair,
    cores,
  }
}

/** Neighbouring pairs differ in both story and viewer; all viewers × stories come up once before any comes again. */
function request(job: WriteJob, host: string, pair: number): Buffer {
  const viewer = pair % job.viewers
  const story = job.stories[(Math.floor(pair / job.viewers) + viewer) % job.stories.length]
  return Buffer.from(
    `POST /stories/${story}/view HTTP/1.1\r\nHost: ${host}\r\nAuthorization: Bearer ${tokens[viewer]}\r\nContent-Length: 0\r\n\r\n`,
    'latin1',
  )
}

answerJobs(run)
