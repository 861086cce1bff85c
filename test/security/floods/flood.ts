import autocannon from 'autocannon'

/** What `flood.ts` is told, as JSON on its command line. */
export interface Flood {
  readonly url: string
  readonly connections: number
  readonly seconds: number
  readonly pipelining?: number
  /** Sent in turn by every connection. */
  readonly requests: readonly {
    readonly method: 'GET' | 'POST'
    readonly path: string
    readonly headers?: Record<string, string>
  }[]
}

/** What it says at the end, as JSON on standard output. */
export interface FloodResult {
  /** Answers by status. */
  readonly statuses: Readonly<Record<string, number>>
}

// A process of its own: whoever floods must not slow down those who look on.
const { url, connections, seconds, pipelining = 1, requests } = JSON.parse(process.argv[2] ?? '') as Flood
const result = await autocannon({
  url,
  connections,
  duration: seconds,
  pipelining,
  // A stream that was let in never ends its answer.
  timeout: 2,
  requests: requests.map((request) => ({ ...request })),
})
const statuses = Object.fromEntries(
  Object.entries(result.statusCodeStats ?? {}).map(([status, { count = 0 }]) => [status, count]),
)
console.log(JSON.stringify({ statuses } satisfies FloodResult))
