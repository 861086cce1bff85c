import { type EventRun, isBodyOf, numberAt } from '../event.ts'
import type { BusListener, Recipient, Trailer } from './bus.ts'

type PayloadListener = Pick<BusListener, 'recipient' | 'onHandedOn'>

/** The run of consecutive events for each recipient, for one write. */
type Runs = Map<Recipient, EventRun & { readonly times: number[]; readonly bodies: string[] }>

/** `r`, in the place of the seq of an event. */
const READ_MARK = 114

/**
 * Reads NOTIFY payloads that arrived together, as glimpse.log_events() writes them (migrations/0008): lines of
 * `user <tab> seq <tab> previous <tab> body`, then a trailer `<tab> time`, and perhaps `<tab> traceparent`. `previous` is the
 * time of the event before; empty if it is the time of the trailer, `-` if it is not known. Consecutive events of a user
 * become one run, so that they leave in one write. A line for a user who is not connected here costs one map look-up.
 * `user <tab> r<seq> <tab> time <tab> unread` is a read mark.
 *
 * A line is believed only if it has this form and its body belongs to its number; other events are read from the log.
 *
 * @returns how many payloads had no event for a user who is connected here
 */
export function readPayloads(epoch: string, payloads: readonly string[], listener: PayloadListener): number {
  const runs: Runs = new Map()
  let sentAt = Number.NaN
  let traced: Trailer[] | undefined
  let unwanted = 0
  for (const payload of payloads) {
    const trailer = payload.lastIndexOf('\n\t')
    const linesEnd = trailer === -1 ? payload.length : trailer
    const traceAt = trailer === -1 ? -1 : payload.indexOf('\t', trailer + 2)
    const timeEnd = traceAt === -1 ? payload.length : traceAt
    const time = trailer === -1 ? Number.NaN : numberAt(payload, trailer + 2, timeEnd)
    let wanted = false
    for (let start = 0; start < linesEnd; ) {
      const newline = payload.indexOf('\n', start)
      const end = newline === -1 ? payload.length : newline
      if (readLine(epoch, payload, start, end, time, listener, runs)) wanted = true
      start = end + 1
    }
    if (!wanted) {
      unwanted++
      continue
    }
    // Only the oldest is measured: measuring each payload would cost as much as what it measures.
    if (Number.isNaN(sentAt)) sentAt = time
    if (traceAt === -1) continue
    traced ??= []
    traced.push({ sentAt: time, traceparent: payload.slice(traceAt + 1) })
  }
  for (const [recipient, run] of runs) recipient.push(epoch, run)
  if (!Number.isNaN(sentAt)) listener.onHandedOn(sentAt, traced ?? [])
  return unwanted
}

/**
 * @param time the time in the trailer, NaN if there is none
 * @returns whether the line has an event for a user who is connected here
 */
function readLine(
  epoch: string,
  payload: string,
  start: number,
  end: number,
  time: number,
  listener: PayloadListener,
  runs: Runs,
): boolean {
  const userEnd = payload.indexOf('\t', start)
  if (userEnd === -1 || userEnd >= end) return false
  // Asked first: most lines are for users who are not connected here.
  const recipient = listener.recipient(payload.slice(start, userEnd))
  if (recipient === undefined) return false
  const seqEnd = payload.indexOf('\t', userEnd + 1)
  const previousEnd = seqEnd === -1 ? -1 : payload.indexOf('\t', seqEnd + 1)
  if (previousEnd === -1 || previousEnd >= end) return false
  if (payload.charCodeAt(userEnd + 1) === READ_MARK) {
    // Events before it must be written first.
    const before = runs.get(recipient)
    if (before !== undefined) recipient.push(epoch, before)
    runs.delete(recipient)
    const seq = numberAt(payload, userEnd + 2, seqEnd)
    const unread = numberAt(payload, previousEnd + 1, end, 0)
    const read = { seq, time: knownTimeAt(payload, seqEnd + 1, previousEnd) }
    if (!Number.isNaN(seq) && !Number.isNaN(unread)) recipient.markRead(epoch, read, unread)
    return false
  }
  const seq = numberAt(payload, userEnd + 1, seqEnd)
  if (Number.isNaN(seq) || Number.isNaN(time)) return false
  if (previousEnd + 1 === end) {
    recipient.announce(epoch, seq)
    return false
  }
  const body = payload.slice(previousEnd + 1, end)
  if (!isBodyOf(seq, body)) return false
  const previous = previousEnd === seqEnd + 1 ? time : knownTimeAt(payload, seqEnd + 1, previousEnd)
  const run = runs.get(recipient)
  if (run !== undefined && seq === run.first + run.bodies.length && previous === run.times.at(-1)) {
    run.times.push(time)
    run.bodies.push(body)
    return true
  }
  if (run !== undefined) recipient.push(epoch, run)
  runs.set(recipient, { first: seq, previous, times: [time], bodies: [body] })
  return true
}

function knownTimeAt(text: string, start: number, end: number): number | undefined {
  const time = numberAt(text, start, end, 0)
  return Number.isNaN(time) ? undefined : time
}
