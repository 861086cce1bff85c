import { GlimpseError } from '../errors.ts'
import { ConnectionError } from './connection-error.ts'

/**
 * Why a statement failed:
 * - `row`: one of its values is not acceptable;
 * - `vanished`: the row that it refers to was deleted at this moment; a retry sees that;
 * - `contention`: it could not get a lock in time;
 * - `unavailable`: Postgres is away, starting, stopping, full or silent, or somebody cancelled the statement; it passes;
 * - `fault`: code, schema, rights or configuration are wrong; it stays until somebody fixes it.
 */
export type FailureKind = 'row' | 'vanished' | 'contention' | 'unavailable' | 'fault'

/** SQLSTATEs (PostgreSQL manual, appendix A), of which the first two letters are a class. */
const ROW = /^(21|22|23|54|P0)/
/** Foreign key violation. In our schema all foreign keys refer to stories; another schema means a trigger of the application. */
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
  // A retry does not help against a refused certificate.
  if (error instanceof ConnectionError) return error.code === 'TLS' ? 'fault' : 'unavailable'
  const { code, syscall, schema_name } = (error ?? {}) as Readonly<Record<string, unknown>>
  if (typeof code !== 'string') return 'fault'
  // `EPIPE` has the length of a SQLSTATE, but comes from the socket.
  if (DRIVER.has(code) || syscall !== undefined || /^(E[A-Z]+|EAI_AGAIN)$/.test(code)) return 'unavailable'
  if (code === FOREIGN_KEY && schema_name === 'glimpse') return 'vanished'
  if (CONTENTION.has(code)) return 'contention'
  if (UNAVAILABLE.test(code)) return 'unavailable'
  return ROW.test(code) ? 'row' : 'fault'
}

/** The error for a caller whose statement failed: 503 if it passes by itself, else 500. Only the log gets the cause. */
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
