import type { LockPolicy } from '../postgres/lock-timeout.ts'
import { CONNECTIONS, createPool, type Pool } from '../postgres/pool.ts'
import { TimedPool } from '../postgres/timed-pool.ts'

/** What is written in batches, each kind over a connection of its own. */
type Kind = 'views' | 'reactions' | 'reads'

/** Beyond it whoever still waits is told that the row may or may not be stored. */
const STATEMENT_TIMEOUT_MS = 10_000

/**
 * The connections that batches are written over. Those of one kind go over one, behind each other: Postgres finds the next
 * when it is done with the last, and two never wait for each other's streams, as they would on two connections. What
 * waits for a lock waits on others.
 */
export class WritePools {
  readonly #lines: Readonly<Record<Kind, TimedPool>>
  readonly #isolated: TimedPool
  readonly #statementTimeoutMs: number

  constructor(url: string, { statementTimeoutMs = STATEMENT_TIMEOUT_MS } = {}) {
    const line = () => new TimedPool(() => createPool(url, 1, 'glimpse-write'))
    this.#lines = { views: line(), reactions: line(), reads: line() }
    this.#isolated = new TimedPool(() => createPool(url, CONNECTIONS.isolated, 'glimpse-write'))
    this.#statementTimeoutMs = statementTimeoutMs
  }

  /** Rejects as the statement does, or where it takes too long. */
  write<Result>(
    kind: Kind,
    { isolated }: LockPolicy,
    statement: (sql: Pool) => Promise<Result>,
  ): Promise<Result> {
    const pool = isolated ? this.#isolated : this.#lines[kind]
    return pool.within(this.#statementTimeoutMs, statement)
  }

  /** @param options `timeout`: how long statements in flight may still take, in seconds */
  async end(options?: { readonly timeout?: number }): Promise<void> {
    await Promise.all([...Object.values(this.#lines), this.#isolated].map((pool) => pool.end(options)))
  }
}
