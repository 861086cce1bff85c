import type { ConnectionOptions } from './connection-url.ts'
import { type FailureKind, failureKind } from './failure.ts'
import { openPool, type TimedPool } from './pool.ts'
import type { PoolOptions, PoolUsage } from './statement-queue.ts'

/**
 * The most connections that an instance opens, by purpose. Delivery has its own: `canary`, and `log` (two statements of heads
 * and two of pages at a time, and the sweep). `read` serves requests of users, `clean` the retention, `write` has one for each
 * kind of batch, `isolated` serves writes that wait for a lock, and `listen` is the bus.
 */
export const CONNECTIONS = {
  canary: 1,
  log: 5,
  read: 4,
  clean: 1,
  write: 3,
  isolated: 6,
  edit: 3,
  presence: 1,
  queue: 1,
  listen: 1,
} as const

/** The deadline of a statement by purpose, ms. */
export const DEADLINES = {
  /** Less than the bus waits for a canary, so that a canary that could not be sent does not look like a failure of LISTEN. */
  canary: 2000,
  log: 5000,
  read: 5000,
  clean: 20_000,
  /** After it callers get `unavailable`: their rows may or may not be stored. */
  write: 10_000,
  edit: 5000,
  presence: 4000,
  queue: 10_000,
} as const

/** Statements of these purposes serve all users: if they keep failing, the instance is not ready. */
const FOR_EVERYBODY: ReadonlySet<string> = new Set(['canary', 'log', 'write'])
/** This many failures in a row are not caused by a single caller. */
const FAULTS_IN_A_ROW = 3
/** After this time without another failure, the problem counts as fixed. */
const FAULT_STANDS_MS = 15_000

export interface DatabaseOptions {
  readonly pooler?: 'none' | 'transaction'
  /** Called when a statement fails. */
  readonly onFailure?: (purpose: string, kind: FailureKind, error: unknown) => void
}

interface Faults {
  readonly purpose: string
  inARow: number
  lastAt: number
  reason: string
}

/**
 * The pools of an instance on one database. When one pool finds a silent connection, the others close theirs that have been
 * idle since then: a firewall rarely drops only one flow.
 */
export class Database {
  readonly connection: ConnectionOptions
  readonly #options: DatabaseOptions
  readonly #pools: TimedPool[] = []
  readonly #purposes: string[] = []
  readonly #faults: Faults[] = []

  constructor(connection: ConnectionOptions, options: DatabaseOptions = {}) {
    this.connection = connection
    this.#options = options
  }

  /** The problems that keep failing for all users, one sentence each; empty if there are none. */
  get problems(): string[] {
    const since = performance.now() - FAULT_STANDS_MS
    const standing = this.#faults
      .filter(({ inARow, lastAt }) => inARow >= FAULTS_IN_A_ROW && lastAt > since)
      .map(
        ({ purpose, reason }) => `statements of the kind "${purpose}" fail by ${reason}; the log says more`,
      )
    return [...new Set(standing)]
  }

  /** A pool for one purpose. */
  open(purpose: string, options: Omit<PoolOptions, 'pooler' | 'onSilence' | 'onSettled'>): TimedPool {
    const faults: Faults = { purpose, inARow: 0, lastAt: 0, reason: '' }
    if (FOR_EVERYBODY.has(purpose)) this.#faults.push(faults)
    const { pooler = 'none', onFailure } = this.#options
    const pool = openPool(this.connection, purpose, {
      ...options,
      pooler,
      onSilence: (since) => {
        for (const other of this.#pools) other.doubt(since)
      },
      onSettled: (error) => {
        if (error === undefined) {
          faults.inARow = 0
          return
        }
        const kind = failureKind(error)
        onFailure?.(purpose, kind, error)
        if (kind !== 'fault') return
        faults.inARow++
        faults.lastAt = performance.now()
        const { code, name } = error as { code?: string; name?: string }
        // Everybody can read this, so it does not contain the message, which goes to the log.
        faults.reason = code ?? name ?? 'unknown'
      },
    })
    this.#pools.push(pool)
    this.#purposes.push(purpose)
    return pool
  }

  /** The usage of the pools by purpose. */
  get usage(): ReadonlyMap<string, PoolUsage> {
    const usage = new Map<string, PoolUsage>()
    this.#pools.forEach((pool, i) => {
      const purpose = this.#purposes[i] ?? ''
      usage.set(purpose, sumOf(usage.get(purpose), pool.usage))
    })
    return usage
  }

  /** @param options `timeout`: seconds that statements in flight may still take */
  async end(options: { readonly timeout: number }): Promise<void> {
    await Promise.all(this.#pools.map((pool) => pool.end(options)))
  }
}

function sumOf(a: PoolUsage | undefined, b: PoolUsage): PoolUsage {
  if (a === undefined) return b
  const sums = Object.entries(b).map(([name, value]) => [name, value + a[name as keyof PoolUsage]])
  return Object.fromEntries(sums) as PoolUsage
}
