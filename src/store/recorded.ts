import type { Written } from './lane.ts'

/** What became of a view or a reaction; `at` is RFC 3339, UTC, milliseconds. */
export type Recorded =
  | { readonly outcome: 'recorded' | 'repeated'; readonly at: string }
  | { readonly outcome: 'unknown_story' }
  | { readonly outcome: 'expired_story' }

/**
 * One answer row of a recording statement: the author whose story or stream is held, so that the row was passed over, the
 * story's state, the time that stood there before, and the new one.
 */
export interface RecordedRow {
  readonly held_author: string | null
  readonly known: boolean
  readonly expired: boolean | null
  readonly before: string | null
  readonly recorded: string | null
}

export function toRecorded(row: RecordedRow): Written<Recorded> {
  if (!row.known) return { result: { outcome: 'unknown_story' } }
  if (row.expired === true) return { result: { outcome: 'expired_story' } }
  if (row.recorded !== null) return { result: { outcome: 'recorded', at: row.recorded } }
  if (row.before !== null) return { result: { outcome: 'repeated', at: row.before } }
  if (row.held_author !== null) return { heldScope: row.held_author }
  // Neither there before nor written now: another writer was faster, and trying again finds theirs.
  return 'again'
}

/** What a second, identical request is told that joined the first while it was being written. */
export function repeatedOutcome(recorded: Recorded): Recorded {
  return recorded.outcome === 'recorded' ? { outcome: 'repeated', at: recorded.at } : recorded
}
