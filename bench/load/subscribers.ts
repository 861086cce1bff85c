import type { Socket } from 'node:net'
import { nowMs } from './clock.ts'
import { answerJobs, coresSince, cpuMark } from './jobs.ts'
import { type Percentiles, percentilesOf } from './percentiles.ts'
import { handshake, type Protocol } from './protocols.ts'
import { Sequence } from './sequence.ts'
import { readStamps } from './stamp.ts'
import { openStream } from './stream-socket.ts'
import { signToken } from './tokens.ts'

export type SubscriberJob =
  | {
      readonly do: 'open'
      readonly url: string
      readonly protocol: Protocol
      /** One connection each; a user named twice has two. */
      readonly users: readonly string[]
      /** Where each resumes, user by user; absent: from now on. */
      readonly cursors?: readonly string[]
      /** Whether users show a token, or, to the peers, only their name. */
      readonly identity: 'token' | 'user'
      /** How many may be opening at once. */
      readonly concurrency: number
    }
  /** Starts the count anew; with `stamped`, reads from each event when it was sent. */
  | { readonly do: 'reset'; readonly stamped: boolean }
  | { readonly do: 'count' }
  | { readonly do: 'latencies' }

export interface Opened {
  readonly connections: number
  readonly elapsedMs: number
}

export interface Received {
  readonly events: number
  /** Events out of order, lost or doubled, by their seq. */
  readonly outOfOrder: number
  /** Connections that ended since they were opened. */
  readonly lost: number
  /** When the last one came, in `nowMs`. */
  readonly lastAt: number
  readonly cores: number
}

const sequences: Sequence[] = []
const kept: { readonly socket: Socket; readonly bytes: Buffer }[] = []
const KEEP_ALIVE_MS = 10_000

let received = 0
let lost = 0
let lastAt = 0
let faultsBefore = 0
let mark = cpuMark()
let latencies: number[] | undefined

async function run(job: SubscriberJob): Promise<Opened | Received | Percentiles> {
  if (job.do === 'open') return open(job)
  if (job.do === 'latencies') return percentilesOf(latencies ?? [])
  if (job.do === 'reset') reset(job.stamped)
  return {
    events: received,
    outOfOrder: outOfOrder() - faultsBefore,
    lost,
    lastAt,
    cores: coresSince(mark),
  }
}

async function open(job: Extract<SubscriberJob, { do: 'open' }>): Promise<Opened> {
  const { host } = new URL(job.url)
  const handshakes = job.users.map((user, i) =>
    handshake(
      job.protocol,
      host,
      job.identity === 'token' ? { token: signToken(user) } : { user },
      job.cursors?.[i],
    ),
  )
  const started = performance.now()
  let next = 0
  const opener = async () => {
    for (let shake = handshakes[next]; shake !== undefined; shake = handshakes[next]) {
      next += 1
      const sequence = new Sequence()
      const socket = await openStream(job.url, shake, (bytes) => take(sequence, bytes))
      socket.once('close', () => {
        lost += 1
      })
      if (shake.keepAlive !== undefined) kept.push({ socket, bytes: shake.keepAlive })
      sequences.push(sequence)
    }
  }
  await Promise.all(Array.from({ length: job.concurrency }, opener))
  return { connections: handshakes.length, elapsedMs: performance.now() - started }
}

function take(sequence: Sequence, bytes: Buffer): void {
  const events = sequence.push(bytes)
  if (events === 0) return
  received += events
  lastAt = nowMs()
  if (latencies === undefined) return
  const [samples, at] = [latencies, lastAt]
  readStamps(bytes, (sentMs) => samples.push(at - sentMs))
}

function reset(stamped: boolean): void {
  received = 0
  faultsBefore = outOfOrder()
  latencies = stamped ? [] : undefined
  mark = cpuMark()
}

function outOfOrder(): number {
  return sequences.reduce((sum, sequence) => sum + sequence.faults, 0)
}

setInterval(() => {
  for (const { socket, bytes } of kept) socket.write(bytes)
}, KEEP_ALIVE_MS)

answerJobs(run)
