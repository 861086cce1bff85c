import type { ResetReason, ResumePoint, StreamHead } from '../event.ts'

/** Where a connection begins in a stream, and whether the client may have missed something on the way there. */
export interface Start {
  readonly cursor: number
  /** Whether the stream goes on exactly after the client's cursor. */
  readonly resumed: boolean
  readonly reset: ResetReason | undefined
}

/**
 * Decides from where a client continues. History that is partly gone continues with the oldest event kept; a cursor
 * that says nothing about this history continues from now, because anything else might show an event twice.
 */
export function startFrom(point: ResumePoint, { epoch, head, oldest }: StreamHead): Start {
  switch (point.from) {
    case 'now':
      return { cursor: head, resumed: false, reset: undefined }
    case 'oldest':
      return { cursor: oldest - 1, resumed: false, reset: undefined }
    case 'invalid':
      return { cursor: head, resumed: false, reset: 'invalid' }
    case 'cursor':
      if (point.epoch !== epoch) return { cursor: head, resumed: false, reset: 'epoch' }
      if (point.seq > head) return { cursor: head, resumed: false, reset: 'ahead' }
      if (point.seq < oldest - 1) return { cursor: oldest - 1, resumed: false, reset: 'trimmed' }
      return { cursor: point.seq, resumed: true, reset: undefined }
  }
}
