import type { Socket } from 'node:net'
import { readStamps, Sequence } from './events.ts'
import { answerJobs, coresMeter, nowMs, percentilesOf } from './jobs.ts'
import { handshake, openStream, type Protocol, signToken } from './streams.ts'

export interface Opening {
  readonly url: string
  readonly protocol: Protocol
  /** Whether users show a token, or, to the peers, only their name. */
  readonly identity: 'token' | 'user'
  /** One connection each; a user named twice has two. */
  readonly users: readonly string[]
  /** Where all resume; absent: from now on. */
  readonly cursor?: string
  /** How many may be opening at once. */
  readonly concurrency: number
}

const sequences: Sequence[] = []
const kept: { readonly socket: Socket; readonly bytes: Buffer }[] = []
const KEEP_ALIVE_MS = 10_000

let [events, lost, lastAt] = [0, 0, 0]
let cores = coresMeter()
let samples: number[] | undefined

/** Milliseconds until all are open. */
async function open({ url, protocol, identity, users, cursor, concurrency }: Opening): Promise<number> {
  const handshakes = users.map((user) =>
    handshake(protocol, url, identity === 'token' ? { token: signToken(user) } : { user }, cursor),
  )
  const started = performance.now()
  const waiting = handshakes.values()
  const opener = async () => {
    for (const shake of waiting) {
      const sequence = new Sequence()
      const socket = await openStream(shake, (bytes) => take(sequence, bytes))
      socket.once('close', () => {
        lost += 1
      })
      if (shake.keepAlive !== undefined) kept.push({ socket, bytes: shake.keepAlive })
      sequences.push(sequence)
    }
  }
  await Promise.all(Array.from({ length: concurrency }, opener))
  return performance.now() - started
}

function take(sequence: Sequence, bytes: Buffer): void {
  const completed = sequence.push(bytes)
  if (completed === 0) return
  events += completed
  lastAt = nowMs()
  if (samples !== undefined) readStamps(bytes, (sentMs) => samples?.push(lastAt - sentMs))
}

setInterval(() => {
  for (const { socket, bytes } of kept) socket.write(bytes)
}, KEEP_ALIVE_MS)

const jobs = answerJobs({
  open,
  /** Starts the count anew; with `stamped`, reads from each event when it was sent. */
  reset: (stamped: boolean) => {
    events = 0
    for (const sequence of sequences) sequence.faults = 0
    samples = stamped ? [] : undefined
    cores = coresMeter()
  },
  /** `lost`: connections that ended since they were opened. `lastAt`: when the last event came, in `nowMs`. */
  count: () => {
    const outOfOrder = sequences.reduce((sum, { faults }) => sum + faults, 0)
    return { events, outOfOrder, lost, lastAt, cores: cores() }
  },
  latencies: () => percentilesOf(samples ?? []),
})
export type SubscriberJobs = typeof jobs
