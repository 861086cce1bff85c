import { type EventRun, isBodyOf, type Position, type ResetReason, type StreamPage } from '../event.ts'
import { edgeOf, endOf } from './resume.ts'

/** How a stream continues after a position: with these events; or with a reset to another position. */
export type Continuation =
  | { readonly run: EventRun }
  | { readonly reset: ResetReason; readonly to: Position }
  | undefined

/**
 * How a stream continues after a position, by a page that was read from there or from before it. Everything is checked: the
 * event at the position must have the position's time, the numbers must follow without a hole, and each body must belong to
 * its number. Undefined: nothing comes after it, or not in this page.
 */
export function continueAfter({ seq, time }: Position, page: StreamPage): Continuation {
  const { seqs, times, bodies } = page
  const end = endOf(page)
  const edge = edgeOf(page)
  if (seq > end.seq) return { reset: 'ahead', to: end }
  if (seq < edge.seq) return { reset: 'trimmed', to: edge }

  let next = seqs.findIndex((each) => each >= seq)
  if (next === -1) next = seqs.length
  const isThere = seqs[next] === seq
  // At the end the time of the head decides, as at the start of a connection: after a head was set by hand, the row there
  // may have another one, and a reader that was moved to the end would be moved there again, for ever.
  const known = seq === end.seq ? end.time : isThere ? times[next] : seq === edge.seq ? edge.time : undefined
  // A damaged index may return a row twice: taken as the next event, it would move the reader back, for ever.
  while (seqs[next] === seq) next++
  if (time !== undefined && known !== undefined && time !== known) return { reset: 'epoch', to: end }
  if (seq === end.seq) return undefined

  const following = seqs[next]
  if (following === undefined || following > end.seq)
    return page.complete || following !== undefined ? { reset: 'gap', to: end } : undefined
  // The event at the position is gone, so nothing proves that the following events belong to the same history.
  const isUnproven = time !== undefined && known === undefined && seq !== edge.seq
  if (following !== seq + 1 || isUnproven)
    return { reset: 'gap', to: { seq: following - 1, time: undefined } }

  let last = next
  while (seqs[last] === following + last - next && isBodyOf(following + last - next, bodies[last] ?? '')) {
    if (seqs[last] === end.seq) {
      last++
      break
    }
    last++
  }
  if (last === next) return { reset: 'gap', to: { seq: following, time: times[next] } }
  return {
    run: {
      first: following,
      previous: known ?? time,
      times: times.slice(next, last),
      bodies: bodies.slice(next, last),
    },
  }
}
