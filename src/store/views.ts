import type { Origin } from '../observability/tracing.ts'
import type { LockPolicy } from '../postgres/lock-timeout.ts'
import type { Pool } from '../postgres/pool.ts'
import { outcomes, type Recorded, type Recording } from './recorded.ts'
import type { Written } from './write-queue.ts'

/** A user looks at a story. */
export interface View {
  readonly storyId: string
  readonly viewerId: string
  /** What asked for it, where that is traced. */
  readonly origin?: Origin | undefined
}

/**
 * Records views in one statement, which is committed when this resolves (migrations/0004_recording.sql).
 *
 * @returns one outcome a row, in order
 */
export async function recordViews(
  sql: Pool,
  views: readonly View[],
  locks: LockPolicy,
  traceparent?: string,
): Promise<Written<Recorded>[]> {
  const [recording] = await sql<[Recording]>`
    select recorded_at, others from glimpse.record_views(
      ${views.map((view) => view.storyId)}::uuid[], ${views.map((view) => view.viewerId)}::text[],
      ${locks.timeoutMs}::int, ${locks.skipLocked}::bool, ${traceparent ?? null}::text)`
  return outcomes(views.length, recording)
}
