import type { Written } from './write-queue.ts'

/** What became of a view or a reaction; `at` is RFC 3339, UTC, milliseconds. */
export type Recorded =
  | { readonly outcome: 'recorded' | 'repeated'; readonly at: string }
  | { readonly outcome: 'unknown_story' }
  | { readonly outcome: 'expired_story' }

/** What glimpse.record_views() and glimpse.record_reactions() answer. */
export interface Recording {
  /** The time of every row that was recorded. */
  readonly recorded_at: string
  /** The rows that were not: the row's place from 1 on, its state, and what belongs to that. */
  readonly others: readonly (readonly [nth: number, state: State, detail: string | null])[] | null
}

/** `repeated` comes with the time that stood there before, `held` with the author in whose way a lock stands. */
type State = 'unknown' | 'expired' | 'repeated' | 'held' | 'again'

/** One outcome a row, in order. */
export function outcomes(rows: number, { recorded_at, others }: Recording): Written<Recorded>[] {
  const recorded: Written<Recorded> = { result: { outcome: 'recorded', at: recorded_at } }
  const written = Array<Written<Recorded>>(rows).fill(recorded)
  for (const [nth, state, detail] of others ?? []) written[nth - 1] = toWritten(state, detail ?? '')
  return written
}

function toWritten(state: State, detail: string): Written<Recorded> {
  switch (state) {
    case 'unknown':
      return { result: { outcome: 'unknown_story' } }
    case 'expired':
      return { result: { outcome: 'expired_story' } }
    case 'repeated':
      return { result: { outcome: 'repeated', at: detail } }
    case 'held':
      return { heldScope: detail }
    case 'again':
      return 'again'
  }
}

/** What a second, identical request is told that joined the first while it was being written. */
export function repeatedOutcome(recorded: Recorded): Recorded {
  return recorded.outcome === 'recorded' ? { outcome: 'repeated', at: recorded.at } : recorded
}
