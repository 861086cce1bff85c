import { Cursors, numberToProve } from '../cursor.ts'
import {
  type EventRun,
  eventText,
  type Position,
  type ResetReason,
  type ResumePoint,
  type StreamHead,
  type StreamPage,
} from '../event.ts'
import { continueAfter } from '../hub/continuation.ts'
import { readOf, startFrom } from '../hub/resume.ts'
import type { App } from './context.ts'

/** A page of a user's stream, ready to send. */
export interface Page {
  readonly stream: StreamHead
  /** Events as every transport sends them. */
  readonly texts: readonly string[]
  /** Why the reader may have missed events before the first of them. */
  readonly reset: ResetReason | undefined
  /** Whether the stream has more events. */
  readonly hasMore: boolean
  /** The cursor after the last event, and that of the read mark. */
  readonly cursor: string
  readonly read: string
}

/** The most holes that one request skips; the next request continues from there. */
const MAX_RESETS = 8

/**
 * One page of a user's stream after a resume point, and whether the reader may have missed events before it.
 *
 * @param limit the most events
 * @throws GlimpseError if the log cannot be read, or if too many requests wait
 */
export async function readPage(app: App, user: string, point: ResumePoint, limit?: number): Promise<Page> {
  const cursors = new Cursors(user)
  const bounded = <Result>(work: () => Promise<Result>) => app.waiting.pass(() => app.polls.pass(user, work))
  const read = (after: number) => bounded(() => app.eventLog.page(user, after, limit))
  let after = point.from === 'cursor' ? point.seq : 0
  let page: StreamPage =
    point.from === 'now' || point.from === 'invalid'
      ? {
          seqs: [],
          times: [],
          bodies: [],
          complete: true,
          ...(await bounded(() => app.eventLog.head(user))),
        }
      : await read(after)
  const asked = numberToProve(point)
  const askedTime = asked !== -1 && page.seqs[0] === asked ? page.times[0] : undefined
  const start = startFrom(point, { ...page, askedTime }, cursors)

  let { reset } = start
  let place: Position = start
  let run: EventRun | undefined
  for (let resets = 0; resets < MAX_RESETS; resets++) {
    if (place.seq >= page.head) break
    if (place.seq !== after) {
      after = place.seq
      page = await read(after)
    }
    const continuation = continueAfter(place, page)
    if (continuation === undefined) break
    if ('run' in continuation) {
      run = continuation.run
      break
    }
    reset ??= continuation.reset
    place = continuation.to
  }
  if (reset !== undefined) app.metrics.resets.inc({ reason: reset })

  const { first, times, bodies } = cut(run, place, limit)
  const ids = times.map((time, i) => cursors.format(page.epoch, { seq: first + i, time }))
  const end: Position = { seq: first + bodies.length - 1, time: times.at(-1) ?? place.time }
  return {
    stream: page,
    texts: bodies.map((body, i) => eventText(ids[i] ?? '', body)),
    reset,
    hasMore: page.head > end.seq,
    cursor: ids.at(-1) ?? cursors.format(page.epoch, end),
    read: cursors.format(page.epoch, readOf(page)),
  }
}

/** Cuts one event: a page that does not begin with the event at its position has one more than was asked for. */
function cut(run: EventRun | undefined, { seq }: Position, limit = Number.POSITIVE_INFINITY): EventRun {
  const { first, previous, times, bodies } = run ?? {
    first: seq + 1,
    previous: undefined,
    times: [],
    bodies: [],
  }
  return { first, previous, times: times.slice(0, limit), bodies: bodies.slice(0, limit) }
}
