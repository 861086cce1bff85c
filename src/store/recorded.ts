/** What became of a view or a reaction; `at` is RFC 3339, UTC, milliseconds. */
export type Recorded =
  | { readonly outcome: 'recorded' | 'repeated'; readonly at: string }
  | { readonly outcome: 'unknown_story' }
  | { readonly outcome: 'expired_story' }

/** One answer row of a recording statement: the story's state, the time that stood there before, and the new one. */
export interface RecordedRow {
  readonly known: boolean
  readonly expired: boolean | null
  readonly before: string | null
  readonly recorded: string | null
}

/** Undefined: neither there before nor written now, because another writer was faster; trying again finds theirs. */
export function toRecorded(row: RecordedRow): Recorded | undefined {
  if (!row.known) return { outcome: 'unknown_story' }
  if (row.expired === true) return { outcome: 'expired_story' }
  if (row.recorded !== null) return { outcome: 'recorded', at: row.recorded }
  return row.before === null ? undefined : { outcome: 'repeated', at: row.before }
}

/** What a second, identical request is told that joined the first while it was being written. */
export function repeatedOutcome(recorded: Recorded): Recorded {
  return recorded.outcome === 'recorded' ? { outcome: 'repeated', at: recorded.at } : recorded
}
