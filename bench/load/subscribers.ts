import type { Socket } from 'node:net'
import { answerJobs, coresSince, cpuMark } from './jobs.ts'
import { Sequence } from './sequence.ts'
import { openStream, PONG, type Transport } from './stream-socket.ts'
import { signToken } from './tokens.ts'

export type SubscriberJob =
  | {
      readonly do: 'open'
      readonly url: string
      readonly transport: Transport
      /** One connection each. */
      readonly users: readonly string[]
      /** How many may be opening at once. */
      readonly concurrency: number
    }
  /** Starts the count anew. */
  | { readonly do: 'reset' }
  | { readonly do: 'count' }

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
  /** When the last one came: epoch milliseconds with a fraction. */
  readonly lastAt: number
  readonly cores: number
}

const sequences: Sequence[] = []
const webSockets: Socket[] = []
const PONG_INTERVAL_MS = 10_000

let received = 0
let lost = 0
let lastAt = 0
let faultsBefore = 0
let mark = cpuMark()

/** The time that processes of one machine share. */
const now = () => performance.timeOrigin + performance.now()

async function run(job: SubscriberJob): Promise<Opened | Received> {
  if (job.do === 'open') return open(job)
  if (job.do === 'reset') reset()
  return {
    events: received,
    outOfOrder: outOfOrder() - faultsBefore,
    lost,
    lastAt,
    cores: coresSince(mark),
  }
}

async function open(job: Extract<SubscriberJob, { do: 'open' }>): Promise<Opened> {
  const tokens = job.users.map(signToken)
  const started = performance.now()
  let next = 0
  const opener = async () => {
    while (next < tokens.length) {
      const token = tokens[next] as string
      next += 1
      const sequence = new Sequence()
      const socket = await openStream(job.url, job.transport, token, (bytes) => {
        const events = sequence.push(bytes)
        if (events === 0) return
        received += events
        lastAt = now()
      })
      socket.once('close', () => {
        lost += 1
      })
      if (job.transport === 'ws') webSockets.push(socket)
      sequences.push(sequence)
    }
  }
  await Promise.all(Array.from({ length: job.concurrency }, opener))
  return { connections: sequences.length, elapsedMs: performance.now() - started }
}

function reset(): void {
  received = 0
  faultsBefore = outOfOrder()
  mark = cpuMark()
}

function outOfOrder(): number {
  return sequences.reduce((sum, sequence) => sum + sequence.faults, 0)
}

// Servers drop a peer that is silent for too long. Frames are not parsed here, so pongs go unasked, as they may.
setInterval(() => {
  for (const socket of webSockets) socket.write(PONG)
}, PONG_INTERVAL_MS)

answerJobs(run)
