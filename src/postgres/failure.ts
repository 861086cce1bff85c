import { GlimpseError } from '../errors.ts'
import { ConnectionError } from './connection-error.ts'

/**
 * What a failed statement says:
 * - `row`: it was given something that it cannot take;
 * - `vanished`: the row that it refers to was deleted at this moment: tried again, it sees that;
 * - `contention`: it could not have a lock in time;
 * - `unavailable`: Postgres is away, starting, stopping, full or silent, or somebody cancelled it: this passes by itself;
 * - `fault`: our code, the schema, rights or the configuration are wrong: this stays until somebody fixes it.
 */
export type FailureKind = 'row' | 'vanished' | 'contention' | 'unavailable' | 'fault'

/** SQLSTATEs (PostgreSQL manual, appendix A), of which the first two letters are a class. */
const ROW = /^(21|22|23|54|P0)/
/** A foreign key. Those of our schema lead to stories alone; one of another schema is a trigger's of somebody's own. */
const FOREIGN_KEY = '23503'
const CONTENTION: ReadonlySet<string> = new Set(['55P03', '40P01', '40001'])
const UNAVAILABLE = /^(08|53|57P|57014)/

/** Codes of the driver itself. */
const DRIVER: ReadonlySet<string> = new Set([
  'CONNECTION_CLOSED',
  'CONNECTION_DESTROYED',
  'CONNECTION_ENDED',
  'CONNECT_TIMEOUT',
])

export function failureKind(error: unknown): FailureKind {
  // A refused certificate stays refused.
  if (error instanceof ConnectionError) return error.code === 'TLS' ? 'fault' : 'unavailable'
  const { code, syscall, schema_name } = (error ?? {}) as Readonly<Record<string, unknown>>
  if (typeof code !== 'string') return 'fault'
  // `EPIPE` is as long as a SQLSTATE, but no server sends it.
  if (DRIVER.has(code) || syscall !== undefined || /^(E[A-Z]+|EAI_AGAIN)$/.test(code)) return 'unavailable'
  if (code === FOREIGN_KEY && schema_name === 'glimpse') return 'vanished'
  if (CONTENTION.has(code)) return 'contention'
  if (UNAVAILABLE.test(code)) return 'unavailable'
  return ROW.test(code) ? 'row' : 'fault'
}

/** The answer to a caller whose statement failed: 503 for what passes by itself, else 500; the cause is for the log alone. */
export function asGlimpseError(error: unknown): GlimpseError {
  if (error instanceof GlimpseError) return error
  switch (failureKind(error)) {
    case 'contention':
      return new GlimpseError('busy', {
        detail: 'Another transaction holds this row; try again.',
        retryAfter: 1,
        cause: error,
      })
    case 'unavailable':
      return new GlimpseError('unavailable', {
        detail: 'The database is not available; try again.',
        retryAfter: 1,
        cause: error,
      })
    case 'vanished':
      return new GlimpseError('unknown_story', { detail: 'There is no such story.', cause: error })
    case 'row':
    case 'fault':
      return new GlimpseError('internal', { cause: error })
  }
}
