import postgres from 'postgres'
import { GlimpseError } from '../errors.ts'

/** SQLSTATEs (PostgreSQL manual, appendix A) that say something about the rows, not about the server. */
const ROW_FAULT = /^(22|23|P0)/
const CONTENTION: ReadonlySet<string> = new Set(['55P03', '40P01', '40001'])

export type FailureKind = 'row' | 'contention' | 'server'

/** What a failed statement says: a row it can't take, a lock it could not have in time, or a server that can't serve. */
export function failureKind(error: unknown): FailureKind {
  if (!(error instanceof postgres.PostgresError)) return 'server'
  if (CONTENTION.has(error.code)) return 'contention'
  return ROW_FAULT.test(error.code) ? 'row' : 'server'
}

/** The answer to a caller whose statement failed: 503, with the cause kept for the log alone. */
export function asGlimpseError(error: unknown): GlimpseError {
  if (error instanceof GlimpseError) return error
  switch (failureKind(error)) {
    case 'contention':
      return new GlimpseError('busy', {
        detail: 'Another transaction holds this row; try again.',
        retryAfter: 1,
        cause: error,
      })
    case 'row':
      return new GlimpseError('internal', { cause: error })
    case 'server':
      return new GlimpseError('unavailable', {
        detail: 'The database is not available; try again.',
        retryAfter: 1,
        cause: error,
      })
  }
}
