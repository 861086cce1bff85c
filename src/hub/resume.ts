import type { Cursors } from '../cursor.ts'
import type { Position, ResetReason, ResumePoint, StreamHead } from '../event.ts'

/** The position where a connection begins, and whether the client may have missed events before it. */
export interface Start extends Position {
  /** Whether the stream continues exactly after the client's cursor. */
  readonly resumed: boolean
  readonly reset: ResetReason | undefined
}

/** The state of a stream, and the time of the event at the cursor's number, if the log has it. */
export interface ResumeHead extends StreamHead {
  readonly askedTime: number | undefined
}

/** The position just before the oldest event kept. */
export function edgeOf({ oldest, trimmedTime }: Pick<StreamHead, 'oldest' | 'trimmedTime'>): Position {
  return { seq: oldest - 1, time: oldest === 1 ? 0 : trimmedTime }
}

/** The position of the read mark. */
export function readOf({ read, readTime }: Pick<StreamHead, 'read' | 'readTime'>): Position {
  return { seq: read, time: read === 0 ? 0 : readTime }
}

/** The position at the end of a stream. */
export function endOf({ head, headTime }: Pick<StreamHead, 'head' | 'headTime'>): Position {
  return { seq: head, time: head === 0 ? 0 : headTime }
}

/**
 * Decides where a client continues. A cursor before the oldest event kept continues with that event. A cursor that is not of
 * this history continues from now, because anything else might send an event twice.
 */
export function startFrom(point: ResumePoint, stream: ResumeHead, cursors: Cursors): Start {
  const end = endOf(stream)
  const edge = edgeOf(stream)
  switch (point.from) {
    case 'now':
      return { resumed: false, reset: undefined, ...end }
    case 'oldest':
      return { resumed: false, reset: undefined, ...edge }
    case 'invalid':
      return { resumed: false, reset: 'invalid', ...end }
    case 'cursor': {
      const { seq } = point
      if (point.epoch !== stream.epoch) return { resumed: false, reset: 'epoch', ...end }
      if (seq > end.seq) return { resumed: false, reset: 'ahead', ...end }
      if (seq < edge.seq) return { resumed: false, reset: 'trimmed', ...edge }
      const isKept = seq > edge.seq && seq < end.seq
      const time = seq === end.seq ? end.time : seq === edge.seq ? edge.time : stream.askedTime
      // A cursor of 0.1 has no check and is believed; so is a cursor whose event 0.1 trimmed without storing its time.
      if (point.check === undefined || (time === undefined && !isKept))
        return { resumed: true, reset: undefined, seq, time }
      if (time === undefined) return { resumed: false, reset: 'gap', seq, time }
      if (!cursors.fits(point, time)) return { resumed: false, reset: 'epoch', ...end }
      return { resumed: true, reset: undefined, seq, time }
    }
  }
}
