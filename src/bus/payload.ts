import type { EventRun } from '../event.ts'
import type { BusListener } from './bus.ts'

type PayloadListener = Pick<BusListener, 'wants' | 'onEvents' | 'onHint'>

/**
 * Reads NOTIFY payloads, lines of `user <tab> seq <tab> body`, that arrived together. Consecutive events of a user
 * become one run, so that they leave in one write. A line of a user nobody here waits for costs one map look-up.
 */
export function readPayloads(epoch: string, payloads: readonly string[], listener: PayloadListener): void {
  const runs = new Map<string, { first: number; bodies: string[] }>()
  for (const payload of payloads) {
    for (let start = 0; start < payload.length; ) {
      const newline = payload.indexOf('\n', start)
      const end = newline === -1 ? payload.length : newline
      readLine(epoch, payload, start, end, listener, runs)
      start = end + 1
    }
  }
  for (const [user, run] of runs) listener.onEvents(epoch, user, run)
}

function readLine(
  epoch: string,
  payload: string,
  start: number,
  end: number,
  listener: PayloadListener,
  runs: Map<string, EventRun & { bodies: string[] }>,
): void {
  const userEnd = payload.indexOf('\t', start)
  const seqEnd = payload.indexOf('\t', userEnd + 1)
  if (userEnd === -1 || seqEnd === -1 || seqEnd > end) return
  const user = payload.slice(start, userEnd)
  if (!listener.wants(user)) return
  const seq = Number(payload.slice(userEnd + 1, seqEnd))
  if (!Number.isSafeInteger(seq) || seq < 1) return
  if (seqEnd + 1 === end) {
    listener.onHint(epoch, user, seq)
    return
  }
  const body = payload.slice(seqEnd + 1, end)
  const run = runs.get(user)
  if (run !== undefined && seq === run.first + run.bodies.length) {
    run.bodies.push(body)
    return
  }
  if (run !== undefined) listener.onEvents(epoch, user, run)
  runs.set(user, { first: seq, bodies: [body] })
}
