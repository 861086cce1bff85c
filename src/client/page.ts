import type { GlimpseEvent, ResetReason } from '../event.ts'
import { split } from './position.ts'

/** A page of the stream, as the poll gives it. */
export interface Page {
  readonly events: readonly GlimpseEvent[]
  readonly cursor: string
  readonly has_more: boolean
  readonly reset: { readonly reason: ResetReason; readonly oldest: number } | null
  readonly unread: number
  readonly read: string
}

/** The position before the first event of a page. */
export function placeBefore({ events: [first], cursor }: Page): string {
  return first === undefined ? cursor : `${split(first.id)[0]}.${first.seq - 1}`
}
