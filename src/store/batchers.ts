import { Gauge } from 'prom-client'
import type { Metrics } from '../observability/metrics.ts'
import type { Origin, Tracing } from '../observability/tracing.ts'
import { Batcher } from './batcher.ts'
import { type Reaction, recordReactions } from './reactions.ts'
import { markRead, type ReadMark, type ReadOutcome } from './read-marker.ts'
import { type Recorded, repeatedOutcome } from './recorded.ts'
import { recordViews, type View } from './views.ts'
import type { WritePools } from './write-pools.ts'

export interface Batchers {
  readonly views: Batcher<View, Recorded>
  readonly reactions: Batcher<Reaction, Recorded>
  readonly reads: Batcher<ReadMark, ReadOutcome>
}

/** The batchers of an instance. One user's rows on one story share a key; so do one user's marks. */
export function createBatchers(
  pools: WritePools,
  metrics: Metrics,
  maxWaiting: number,
  tracing?: Tracing,
): Batchers {
  const measured = async <Result>(
    kind: string,
    rows: number,
    write: () => Promise<Result>,
  ): Promise<Result> => {
    metrics.batchRows.observe({ kind }, rows)
    const ended = metrics.batchSeconds.startTimer({ kind })
    return write().finally(ended)
  }
  const traced = <Result>(
    kind: string,
    rows: readonly { readonly origin?: Origin | undefined }[],
    write: (traceparent: string | undefined) => Promise<Result>,
  ): Promise<Result> =>
    tracing === undefined
      ? write(undefined)
      : tracing.batch(
          `write ${kind}`,
          rows.map(({ origin }) => origin),
          write,
        )
  const views: Batcher<View, Recorded> = new Batcher({
    keyOf: (view) => `${view.storyId} ${view.viewerId}`,
    same: () => true,
    repeated: repeatedOutcome,
    maxWaiting,
    onOverload: () => metrics.limited.inc({ limit: 'waiting_writes' }),
    write: (rows, locks) =>
      measured('view', rows.length, () =>
        traced('view', rows, (traceparent) =>
          pools.write('views', locks, (sql) => recordViews(sql, rows, locks, traceparent)),
        ),
      ),
  })
  const reactions: Batcher<Reaction, Recorded> = new Batcher({
    keyOf: (reaction) => `${reaction.storyId} ${reaction.userId}`,
    same: (a, b) => a.emoji === b.emoji,
    repeated: repeatedOutcome,
    maxWaiting,
    onOverload: () => metrics.limited.inc({ limit: 'waiting_writes' }),
    write: (rows, locks) =>
      measured('reaction', rows.length, () =>
        traced('reaction', rows, (traceparent) =>
          pools.write('reactions', locks, (sql) => recordReactions(sql, rows, locks, traceparent)),
        ),
      ),
  })
  const reads: Batcher<ReadMark, ReadOutcome> = new Batcher({
    keyOf: (mark) => mark.user,
    same: (a, b) => a.epoch === b.epoch && a.seq === b.seq && a.check === b.check,
    repeated: (outcome) => outcome,
    maxWaiting,
    onOverload: () => metrics.limited.inc({ limit: 'waiting_writes' }),
    write: (rows, locks) =>
      measured('read', rows.length, () => pools.write('reads', locks, (sql) => markRead(sql, rows, locks))),
  })
  new Gauge({
    name: 'glimpse_writes_waiting',
    help: 'Requests that wait for their write to be committed.',
    labelNames: ['kind'] as const,
    registers: [metrics.registry],
    collect() {
      this.set({ kind: 'view' }, views.waiting)
      this.set({ kind: 'reaction' }, reactions.waiting)
      this.set({ kind: 'read' }, reads.waiting)
    },
  })
  return { views, reactions, reads }
}
