import type { EventRun, Position } from '../event.ts'
import type { DatabaseClock } from './database-clock.ts'

/** When events were about to be committed (µs since 1970), and their writer's trace (W3C `traceparent`). */
export interface Trailer {
  readonly sentAt: number
  readonly traceparent: string
}

/** Receives the messages for one user's stream. Numbers belong to the history `epoch`, which may not be the present one. */
export interface Recipient {
  /** Events in commit order; some may come twice, and some before them may be missing. */
  push(epoch: string, run: EventRun): void
  /** The stream has reached `seq`; the event itself was too large to send along. */
  announce(epoch: string, seq: number): void
  /** The user has read up to `read`; `unread` events were kept after it when that was committed. */
  markRead(epoch: string, read: Position, unread: number): void
}

/** Receives the messages of a bus. All calls are made in the turn of the event loop that received them. */
export interface BusListener {
  /** The recipient for a user; undefined if the user is not connected here. Asked before a line is parsed; valid for that turn. */
  readonly recipient: (user: string) => Recipient | undefined
  /**
   * The messages of one chunk have been passed on. `sentAt`: when the oldest of them was about to be committed, by the
   * database's clock, µs since 1970; `traced`: those whose writers named a trace.
   */
  readonly onHandedOn: (sentAt: number, traced: readonly Trailer[]) => void
  /** Another instance left close requests for this one. */
  readonly onCall: () => void
  /** Somebody has queued events that must be moved into the log. */
  readonly onQueued: () => void
  /** From now on the bus works, in this history. Earlier messages may be lost, so the heads must be read. */
  readonly onGap: (epoch: string) => void
  /** Messages to these users since they were followed may be lost: their heads must be read once more. */
  readonly onDoubt: (users: readonly string[]) => void
}

/** The users whose streams the instance follows. */
export interface Interest {
  /**
   * Follows this user's stream. Called for each connection of a user; only the first call has an effect.
   *
   * @returns a promise that resolves when later commits will be received, as far as the bus can tell, and within a second in
   *   any case; undefined if that is so already. It never rejects.
   */
  follow(user: string): Promise<void> | undefined
  /** The user has no connection here any more. */
  unfollow(user: string): void
}

/**
 * Carries notifications from the database to the instances. At most once is enough, because the log has all events. It is
 * Postgres' LISTEN, where every instance receives the notifications for all users; or NATS with a relay, where it receives
 * those for its own users.
 */
export interface Bus extends Interest {
  /** Resolves when a test notification has arrived; rejects with StartError if none can. */
  start(): Promise<void>
  /** Whether a message sent now would arrive, by the last canary. */
  readonly alive: boolean
  /** The database's clock, with which trailers are compared. */
  readonly clock: DatabaseClock
  close(): Promise<void>
}
