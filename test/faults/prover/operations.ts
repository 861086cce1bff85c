/** One write, numbered. The number travels in the name of whoever views or reacts, and so comes back in the event. */
export interface Operation {
  readonly number: number
  /** Whose stream its event goes into. */
  readonly author: string
  readonly sentAt: number
  /** When the answer came that says it is stored (performance.now()); undefined: it may be stored or not. */
  ackedAt: number | undefined
}

const PREFIX = 'op-'

/** Every write of a run, and which of them were acknowledged: what the deliveries are held against. */
export class Ledger {
  readonly operations: Operation[] = []

  /** The next operation; to be called just before it is sent. */
  begin(author: string): Operation {
    const operation = {
      number: this.operations.length,
      author,
      sentAt: performance.now(),
      ackedAt: undefined,
    }
    this.operations.push(operation)
    return operation
  }
}

export function visitorOf({ number }: Operation): string {
  return PREFIX + number
}

/** The operation that an event's data names; undefined for one that no writer of ours made. */
export function operationNumber(data: {
  viewer_id?: string | null
  user_id?: string | null
}): number | undefined {
  const visitor = data.viewer_id ?? data.user_id ?? ''
  if (!visitor.startsWith(PREFIX)) return undefined
  const number = Number(visitor.slice(PREFIX.length))
  return Number.isSafeInteger(number) ? number : undefined
}
