import type { Cursors } from '../cursor.ts'
import type { Position, ResetReason, ResumePoint, StreamHead } from '../event.ts'

/** Where a connection begins in a stream, and whether the client may have missed something on the way there. */
export interface Start extends Position {
  /** Whether the stream goes on exactly after the client's cursor. */
  readonly resumed: boolean
  readonly reset: ResetReason | undefined
}

/** Where a stream stands, and the time of the event at the number that the client named, where the log has it. */
export interface ResumeHead extends StreamHead {
  readonly askedTime: number | undefined
}

/** The place just before the oldest event kept. */
export function edgeOf({ oldest, trimmedTime }: Pick<StreamHead, 'oldest' | 'trimmedTime'>): Position {
  return { seq: oldest - 1, time: oldest === 1 ? 0 : trimmedTime }
}

/** The place up to which the user has read. */
export function readOf({ read, readTime }: Pick<StreamHead, 'read' | 'readTime'>): Position {
  return { seq: read, time: read === 0 ? 0 : readTime }
}

/** The place at a stream's end. */
export function endOf({ head, headTime }: Pick<StreamHead, 'head' | 'headTime'>): Position {
  return { seq: head, time: head === 0 ? 0 : headTime }
}

/**
 * Decides from where a client continues. History that is partly gone continues with the oldest event kept; a cursor
 * that says nothing about this history continues from now, because anything else might show an event twice.
 */
export function startFrom(point: ResumePoint, stream: ResumeHead, cursors: Cursors): Start {
  const end = endOf(stream)
  const edge = edgeOf(stream)
  switch (point.from) {
    case 'now':
      return { ...end, resumed: false, reset: undefined }
    case 'oldest':
      return { ...edge, resumed: false, reset: undefined }
    case 'invalid':
      return { ...end, resumed: false, reset: 'invalid' }
    case 'cursor': {
      const { seq } = point
      if (point.epoch !== stream.epoch) return { ...end, resumed: false, reset: 'epoch' }
      if (seq > end.seq) return { ...end, resumed: false, reset: 'ahead' }
      if (seq < edge.seq) return { ...edge, resumed: false, reset: 'trimmed' }
      const isKept = seq > edge.seq && seq < end.seq
      const time = seq === end.seq ? end.time : seq === edge.seq ? edge.time : stream.askedTime
      // A cursor of 0.1 proves nothing and is believed; so is one whose event 0.1 trimmed without noting its time.
      if (point.check === undefined || (time === undefined && !isKept))
        return { seq, time, resumed: true, reset: undefined }
      if (time === undefined) return { seq, time, resumed: false, reset: 'gap' }
      if (!cursors.fits(point, time)) return { ...end, resumed: false, reset: 'epoch' }
      return { seq, time, resumed: true, reset: undefined }
    }
  }
}
