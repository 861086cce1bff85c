import { type EventRun, type ResetReason, type StreamHead, unreadOf } from '../event.ts'
import type { Connection } from './connection.ts'
import { chunks } from './event-chunk.ts'

/** The log, as far as the hub needs it. Reads of many users may be answered by one statement. */
export interface Log {
  head(user: string): Promise<StreamHead>
  heads(users: readonly string[]): Promise<readonly StreamHead[]>
  /** The next events after `after`, as many as one page holds, and where the stream stood then. */
  page(user: string, after: number): Promise<StreamHead & EventRun>
}

/** What was written to connections since the start: plain numbers, because they are added to for each event. */
export interface Traffic {
  /** Events that went out as they happened. */
  pushed: number
  /** Events that were read from the log for connections that were behind, and the pages they came in. */
  caughtUp: number
  pages: number
}

/** What all subscribers of a hub share. */
export interface HubDependencies {
  readonly log: Log
  readonly traffic: Traffic
  readonly onFailure: (error: unknown) => void
  readonly onReset: (reason: ResetReason) => void
  readonly onEpoch: (epoch: string) => void
}

/** One user who is connected here, with all of the user's connections and the one reader that brings them up. */
export class Subscriber {
  readonly user: string
  readonly connections = new Set<Connection>()
  readonly #hub: HubDependencies
  #reading = false

  constructor(user: string, hub: HubDependencies) {
    this.user = user
    this.#hub = hub
  }

  /**
   * Events came over the bus: those whose turn it is go out at once, whoever is behind then reads the log. Connections in
   * another history don't take them.
   */
  push(epoch: string, run: EventRun): void {
    this.#hub.traffic.pushed += this.#offer(epoch, run)
    this.catchUp()
  }

  /** Something says the stream has reached `head`: a hint without a body, or the sweep. */
  announce(epoch: string, head: number): void {
    for (const connection of this.connections) connection.announce(epoch, head)
    this.catchUp()
  }

  /** The user has read so far: all of the user's devices are told. */
  markRead(epoch: string, read: number, unread: number): void {
    for (const connection of this.connections) connection.markRead(epoch, read, unread)
  }

  /** Where each connection stands, to be given to `compare` with heads that are read after this. */
  cursors(): ReadonlyMap<Connection, number> {
    return new Map([...this.connections].map((connection) => [connection, connection.cursor]))
  }

  /** The sweep read the stream's head from the log. Cursors that were beyond it already, or in another history, reset. */
  compare(stream: StreamHead, before: ReadonlyMap<Connection, number>): void {
    this.#hub.onEpoch(stream.epoch)
    for (const [connection, cursor] of before) {
      if (!connection.isOpen) continue
      if (connection.epoch !== stream.epoch) this.#reset(connection, 'epoch', stream.head, stream)
      else if (cursor > stream.head) this.#reset(connection, 'ahead', stream.head, stream)
    }
    this.markRead(stream.epoch, stream.read, unreadOf(stream))
    this.announce(stream.epoch, stream.head)
  }

  /**
   * Reads the log until none of the connections that can be written to is behind. One reader serves them all, from
   * the least cursor on. It stops where a read brings nothing forward, and the next sweep starts it again.
   */
  catchUp(): void {
    if (this.#reading) return
    const after = this.#leastCursorBehind()
    // Asked after each event, and hardly ever is anybody behind: no promise for that.
    if (after !== undefined) this.#readAfter(after).catch(this.#hub.onFailure)
  }

  async #readAfter(from: number): Promise<void> {
    this.#reading = true
    try {
      for (let after = from; ; ) {
        this.#deliver(await this.#hub.log.page(this.user, after), after)
        const next = this.#leastCursorBehind()
        if (next === undefined || next === after) return
        after = next
      }
    } finally {
      // In the same turn as the last look at the connections: who falls behind after it finds no reader, and starts one.
      this.#reading = false
    }
  }

  #leastCursorBehind(): number | undefined {
    let least: number | undefined
    for (const connection of this.connections) {
      if (!connection.behind || !connection.writable) continue
      if (least === undefined || connection.cursor < least) least = connection.cursor
    }
    return least
  }

  #deliver(page: StreamHead & EventRun, after: number): void {
    this.#hub.onEpoch(page.epoch)
    for (const connection of this.connections) this.#mend(connection, page, after)
    this.#hub.traffic.caughtUp += this.#offer(page.epoch, page)
    this.#hub.traffic.pages++
  }

  #offer(epoch: string, events: EventRun): number {
    let written = 0
    for (const run of chunks(epoch, events)) {
      for (const connection of this.connections) written += connection.offer(run)
    }
    return written
  }

  /** The log has no longer, or never had, what comes after a connection's cursor: go on from where it can. */
  #mend(connection: Connection, page: StreamHead, after: number): void {
    if (!connection.isOpen || connection.epoch !== page.epoch || connection.cursor < after) return
    if (connection.cursor < page.oldest - 1) this.#reset(connection, 'trimmed', page.oldest - 1, page)
    else if (page.head < after && connection.cursor === after)
      this.#reset(connection, 'ahead', page.head, page)
  }

  #reset(connection: Connection, reason: ResetReason, cursor: number, stream: StreamHead): void {
    connection.reset(reason, cursor, stream)
    this.#hub.onReset(reason)
  }
}
