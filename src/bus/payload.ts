import type { EventRun } from '../event.ts'
import type { BusListener, Recipient, Trailer } from './bus.ts'

type PayloadListener = Pick<BusListener, 'recipient' | 'onHandedOn'>

/** What arrived for each, as far as it can leave in one write. */
type Runs = Map<Recipient, EventRun & { readonly bodies: string[] }>

/**
 * Reads NOTIFY payloads, lines of `user <tab> seq <tab> body`, that arrived together. Consecutive events of a user
 * become one run, so that they leave in one write. A line of a user nobody here waits for costs one map look-up.
 * `user <tab> r<seq> <tab> unread` says that the user has read up to there; who does not know it sees no number.
 *
 * The last line of a payload is its trailer, `<tab> µs since 1970`, and perhaps `<tab> traceparent`.
 */
export function readPayloads(epoch: string, payloads: readonly string[], listener: PayloadListener): void {
  const runs: Runs = new Map()
  let sentAt = Number.NaN
  let traced: Trailer[] | undefined
  for (const payload of payloads) {
    const trailer = payload.lastIndexOf('\n\t')
    const linesEnd = trailer === -1 ? payload.length : trailer
    let wanted = false
    for (let start = 0; start < linesEnd; ) {
      const newline = payload.indexOf('\n', start)
      const end = newline === -1 ? payload.length : newline
      if (readLine(epoch, payload, start, end, listener, runs)) wanted = true
      start = end + 1
    }
    if (!wanted || trailer === -1) continue
    const traceAt = payload.indexOf('\t', trailer + 2)
    // The oldest alone is measured: it came first, and a number for each payload would cost what it is to show.
    if (traceAt === -1 && !Number.isNaN(sentAt)) continue
    const at = Number.parseInt(payload.slice(trailer + 2, trailer + 18), 10)
    if (Number.isNaN(sentAt)) sentAt = at
    if (traceAt === -1) continue
    traced ??= []
    traced.push({ sentAt: at, traceparent: payload.slice(traceAt + 1) })
  }
  for (const [recipient, run] of runs) recipient.push(epoch, run)
  if (!Number.isNaN(sentAt)) listener.onHandedOn(sentAt, traced ?? [])
}

/** `r`, where an event has its seq. */
const READ_MARK = 114

/** @returns whether somebody here wants its event */
function readLine(
  epoch: string,
  payload: string,
  start: number,
  end: number,
  listener: PayloadListener,
  runs: Runs,
): boolean {
  const userEnd = payload.indexOf('\t', start)
  const seqEnd = payload.indexOf('\t', userEnd + 1)
  if (userEnd === -1 || seqEnd === -1 || seqEnd > end) return false
  const recipient = listener.recipient(payload.slice(start, userEnd))
  if (recipient === undefined) return false
  if (payload.charCodeAt(userEnd + 1) === READ_MARK) {
    // The events that came before it leave before it.
    const before = runs.get(recipient)
    if (before !== undefined) recipient.push(epoch, before)
    runs.delete(recipient)
    readMark(epoch, payload, userEnd + 2, seqEnd, end, recipient)
    return false
  }
  const seq = Number(payload.slice(userEnd + 1, seqEnd))
  if (!Number.isSafeInteger(seq) || seq < 1) return false
  if (seqEnd + 1 === end) {
    recipient.announce(epoch, seq)
    return false
  }
  const body = payload.slice(seqEnd + 1, end)
  const run = runs.get(recipient)
  if (run !== undefined && seq === run.first + run.bodies.length) {
    run.bodies.push(body)
    return true
  }
  if (run !== undefined) recipient.push(epoch, run)
  runs.set(recipient, { first: seq, bodies: [body] })
  return true
}

function readMark(
  epoch: string,
  payload: string,
  start: number,
  seqEnd: number,
  end: number,
  recipient: Recipient,
): void {
  const read = Number(payload.slice(start, seqEnd))
  const unread = Number(payload.slice(seqEnd + 1, end))
  if (Number.isSafeInteger(read) && read > 0 && Number.isSafeInteger(unread) && unread >= 0)
    recipient.markRead(epoch, read, unread)
}
