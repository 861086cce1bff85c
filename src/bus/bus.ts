import type { EventRun, Position } from '../event.ts'
import type { DatabaseClock } from './database-clock.ts'

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
  /** Another instance left close requests for this one. */
  readonly onCall: () => void
  /** Somebody has queued events that are to be moved into the log. */
  readonly onQueued: () => void
  /** The bus is in force from now on, in this history; what came before may be lost, so the heads are to be read. */
  readonly onGap: (epoch: string) => void
  /** What was sent to these users since they were followed may be lost: their heads are to be read once more. */
  readonly onDoubt: (users: readonly string[]) => void
}

/** What whoever holds the bus wants to hear of. */
export interface Interest {
  /**
   * Hears of this user's stream from now on. For each connection of a user; only the first does anything.
   *
   * @returns what resolves once what is committed from then on is heard, as far as the bus can tell, and within a second in
   *   any case; undefined where that is so already. It never rejects.
   */
  follow(user: string): Promise<void> | undefined
  /** The user has no connection here any more. */
  unfollow(user: string): void
}

/**
 * Carries hints from the database to the instances. At most once is enough: the log answers every doubt. It is Postgres'
 * LISTEN, by which every instance hears of everybody, or a relay into NATS, by which it hears of its own users.
 */
export interface Bus extends Interest {
  /** Resolves once a message has made the whole way; rejects with StartError where that can't be. */
  start(): Promise<void>
  /** Whether a message sent now would arrive, as of the last proof. */
  readonly alive: boolean
  /** The database's clock, which trailers are read against. */
  readonly clock: DatabaseClock
  close(): Promise<void>
}
