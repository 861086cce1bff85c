import { CONNECTIONS, type Database, DEADLINES } from '../postgres/database.ts'
import type { LockPolicy } from '../postgres/lock-timeout.ts'
import type { Pool, TimedPool } from '../postgres/pool.ts'

/** What is written in batches, each kind over a connection of its own. */
type Kind = 'views' | 'reactions' | 'reads'

/** One that Postgres carries out and one that it finds waiting when that is done: what a write queue sends. */
const PIPELINE = 2

/**
 * The connections that batches are written over. Those of one kind go over one, behind each other: Postgres finds the next
 * when it is done with the last, and two never wait for each other's streams, as they would on two connections. What
 * waits for a lock waits on others.
 */
export class WritePools {
  readonly #lines: Readonly<Record<Kind, TimedPool>>
  readonly #isolated: TimedPool

  /** @param options.statementTimeoutMs beyond it whoever still waits is told that the row may or may not be stored */
  constructor(database: Database, { statementTimeoutMs = DEADLINES.write as number } = {}) {
    const bounds = { deadlineMs: statementTimeoutMs }
    const line = () => database.open('write', { ...bounds, max: 1, pipeline: PIPELINE })
    this.#lines = { views: line(), reactions: line(), reads: line() }
    this.#isolated = database.open('isolated', { ...bounds, max: CONNECTIONS.isolated })
  }

  /** Rejects as the statement does, or where it takes too long. */
  write<Result>(
    kind: Kind,
    { isolated }: LockPolicy,
    statement: (sql: Pool) => Promise<Result>,
  ): Promise<Result> {
    return statement(isolated ? this.#isolated : this.#lines[kind])
  }
}
