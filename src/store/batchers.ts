import { Gauge } from 'prom-client'
import type { Metrics } from '../observability/metrics.ts'
import type { Origin, Tracing } from '../observability/tracing.ts'
import { CONNECTIONS, type Database, DEADLINES } from '../postgres/database.ts'
import type { LockPolicy } from '../postgres/lock-timeout.ts'
import type { Pool, TimedPool } from '../postgres/pool.ts'
import { Batcher } from './batcher.ts'
import { markRead, type ReadMark, type ReadOutcome } from './read-marker.ts'
import {
  type Reaction,
  type Recorded,
  recordReactions,
  recordViews,
  repeatedOutcome,
  type View,
} from './recording.ts'
import type { StoryScout } from './stories.ts'

/** What is written in batches, each kind over a connection of its own. */
type Kind = 'views' | 'reactions' | 'reads'

/** One executing, one queued: a third only makes batches smaller. */
const PIPELINE = 2

/**
 * The connections for batched writes. Statements of one kind follow each other on one connection: Postgres has the next
 * when it finishes one, and two statements never wait for each other's locks, as they would on two connections. Isolated
 * statements have other connections.
 */
export class WritePools {
  readonly #lines: Readonly<Record<Kind, TimedPool>>
  readonly #isolated: TimedPool

  /** @param options.statementTimeoutMs after it callers get `unavailable`: their rows may or may not be stored */
  constructor(database: Database, { statementTimeoutMs = DEADLINES.write as number } = {}) {
    const bounds = { deadlineMs: statementTimeoutMs }
    const line = () => database.open('write', { ...bounds, max: 1, pipeline: PIPELINE })
    this.#lines = { views: line(), reactions: line(), reads: line() }
    this.#isolated = database.open('isolated', { ...bounds, max: CONNECTIONS.isolated })
  }

  /** Rejects with the error of the statement, or when it takes too long. */
  write<Result>(
    kind: Kind,
    { isolated }: LockPolicy,
    statement: (sql: Pool) => Promise<Result>,
  ): Promise<Result> {
    return statement(isolated ? this.#isolated : this.#lines[kind])
  }
}

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
  scout?: StoryScout,
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
    async write(rows, locks) {
      const written = await measured('view', rows.length, () =>
        traced('view', rows, (traceparent) =>
          pools.write('views', locks, (sql) => recordViews(sql, rows, locks, traceparent)),
        ),
      )
      scout?.viewed(rows)
      return written
    },
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
