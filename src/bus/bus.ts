import type { EventRun, Position } from '../event.ts'

/** When something was about to be committed, in µs since 1970, and its writer's trace (W3C `traceparent`). */
export interface Trailer {
  readonly sentAt: number
  readonly traceparent: string
}

/** Who is to hear of one user's stream. Numbers count in the history of `epoch`, which need not be the one that others read by now. */
export interface Recipient {
  /** Events as they came, in commit order; possibly doubled, possibly with some missing before. */
  push(epoch: string, run: EventRun): void
  /** The stream has reached `seq`; the event itself was too large to send along. */
  announce(epoch: string, seq: number): void
  /** The user has read up to `read`; `unread` events were kept after it when that was committed. */
  markRead(epoch: string, read: Position, unread: number): void
}

/** What a bus tells, in the instance that holds it. All are called from the event loop's turn that heard the news. */
export interface BusListener {
  /** Who is to hear of this user's stream, if anybody here; asked before a line is looked at further, and kept for that turn. */
  readonly recipient: (user: string) => Recipient | undefined
  /**
   * What arrived together has been handed on. `sentAt` is when the oldest of it was about to be committed, by the
   * database's clock, in µs since 1970; `traced` are those parts of it whose writers named a trace.
   */
  readonly onHandedOn: (sentAt: number, traced: readonly Trailer[]) => void
  /** Somebody calls this instance to look at what it is to do. */
  readonly onCall: () => void
  /** Somebody has queued events that are to be moved into the log. */
  readonly onQueued: () => void
  /** The bus is in force from now on, in this history; what came before may be lost, so the heads are to be read. */
  readonly onGap: (epoch: string) => void
}

/**
 * Carries hints from the database to the instances. At most once is enough: the log answers every doubt. Postgres'
 * LISTEN is one; a relay into another broker would be another.
 */
export interface Bus {
  /** Resolves once a message has made the whole way; rejects with StartError where that can't be. */
  start(): Promise<void>
  /** Whether a message sent now would arrive, as of the last proof. */
  readonly alive: boolean
  close(): Promise<void>
}
