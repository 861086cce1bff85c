import { type EventRun, isBodyOf } from '../event.ts'
import type { BusListener, Recipient, Trailer } from './bus.ts'

type PayloadListener = Pick<BusListener, 'recipient' | 'onHandedOn'>

/** What arrived for each, as far as it can leave in one write. */
type Runs = Map<Recipient, EventRun & { readonly times: number[]; readonly bodies: string[] }>

/** `r`, where an event has its seq. */
const READ_MARK = 114

/**
 * Reads NOTIFY payloads that arrived together, as glimpse.log_events() writes them (migrations/0008): lines of
 * `user <tab> seq <tab> previous <tab> body`, then a trailer `<tab> time`, and perhaps `<tab> traceparent`. `previous` is the
 * time of the event before; empty where that has the time of the trailer, `-` where it is not known. Consecutive events of a
 * user become one run, so that they leave in one write. A line of a user nobody here waits for costs one map look-up.
 * `user <tab> r<seq> <tab> time <tab> unread` says that the user has read up to there.
 *
 * A line is believed only if it has this form and its body is that of its number; an event whose line is not believed is
 * read from the log.
 *
 * @returns how many of the payloads brought no event to anybody here
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
    const time = trailer === -1 ? Number.NaN : numberOf(payload.slice(trailer + 2, timeEnd))
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
    // The oldest alone is measured: it came first, and a number for each payload would cost what it is to show.
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
 * @param time the trailer's, NaN where there is none
 * @returns whether somebody here wants its event
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
  const seqEnd = payload.indexOf('\t', userEnd + 1)
  const previousEnd = payload.indexOf('\t', seqEnd + 1)
  if (userEnd === -1 || seqEnd === -1 || previousEnd === -1 || previousEnd >= end) return false
  const recipient = listener.recipient(payload.slice(start, userEnd))
  if (recipient === undefined) return false
  if (payload.charCodeAt(userEnd + 1) === READ_MARK) {
    // The events that came before it leave before it.
    const before = runs.get(recipient)
    if (before !== undefined) recipient.push(epoch, before)
    runs.delete(recipient)
    const seq = numberOf(payload.slice(userEnd + 2, seqEnd))
    const unread =
      payload.slice(previousEnd + 1, end) === '0' ? 0 : numberOf(payload.slice(previousEnd + 1, end))
    const read = { seq, time: knownTimeOf(payload.slice(seqEnd + 1, previousEnd)) }
    if (!Number.isNaN(seq) && !Number.isNaN(unread)) recipient.markRead(epoch, read, unread)
    return false
  }
  const seq = numberOf(payload.slice(userEnd + 1, seqEnd))
  if (Number.isNaN(seq) || Number.isNaN(time)) return false
  if (previousEnd + 1 === end) {
    recipient.announce(epoch, seq)
    return false
  }
  const body = payload.slice(previousEnd + 1, end)
  if (!isBodyOf(seq, body)) return false
  const previous = previousEnd === seqEnd + 1 ? time : knownTimeOf(payload.slice(seqEnd + 1, previousEnd))
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

/** A whole number from 1 on, NaN where the text is none. */
function numberOf(digits: string): number {
  return /^[1-9][0-9]{0,15}$/.test(digits) ? Number(digits) : Number.NaN
}

function knownTimeOf(text: string): number | undefined {
  const time = text === '0' ? 0 : numberOf(text)
  return Number.isNaN(time) ? undefined : time
}
