import { Cursors } from '../cursor.ts'
import {
  type EventRun,
  type Position,
  type ResetReason,
  type StreamHead,
  type StreamPage,
  unreadOf,
} from '../event.ts'
import type { Connection } from './connection.ts'
import { continueAfter } from './continuation.ts'
import { chunks } from './event-chunk.ts'
import { endOf, type ResumeHead, readOf } from './resume.ts'

/** The log, as the hub needs it. One statement may answer reads of many users. */
export interface Log {
  /** @param seq also return the time of the event with this number; -1 for none */
  head(user: string, seq: number): Promise<ResumeHead>
  /** In order; undefined for a stream that cannot be read. */
  heads(users: readonly string[]): Promise<readonly (StreamHead | undefined)[]>
  /** The event at `after` and the following ones, as many as a page holds, with the state of the stream. */
  page(user: string, after: number): Promise<StreamPage>
}

/** A connection's position, and the highest number that it was told of. */
interface Standing extends Position {
  readonly announced: number
}

/** What was written to connections since the start. Plain numbers, because they change with each event. */
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
  /** Called for a hole in the log that no connection of the user has met before. */
  readonly onHole: () => void
  readonly onEpoch: (epoch: string) => void
}

/** A user who is connected here, with all connections and the one reader of the log for those that are behind. */
export class Subscriber {
  readonly user: string
  readonly cursors: Cursors
  readonly connections = new Set<Connection>()
  readonly #hub: HubDependencies
  #reading = false
  /** The number at which the last hole ended, so that a hole is reported once, not for each connection. */
  #holeAt = -1

  constructor(user: string, hub: HubDependencies) {
    this.user = user
    this.cursors = new Cursors(user)
    this.#hub = hub
  }

  /**
   * Takes events from the bus. Connections for which they come next write them at once; for those behind, the log is read.
   * Connections in another history ignore them.
   */
  push(epoch: string, run: EventRun): void {
    this.#hub.traffic.pushed += this.#offer(epoch, run, false)
    this.catchUp()
  }

  /** Notes that the stream has reached `head`, from a hint without a body or from the sweep. */
  announce(epoch: string, head: number): void {
    for (const connection of this.connections) connection.announce(epoch, head)
    this.catchUp()
  }

  /** Sends the read mark to all connections of the user. */
  markRead(epoch: string, read: Position, unread: number): void {
    for (const connection of this.connections) connection.markRead(epoch, read, unread)
  }

  /** The present state of each connection, for `compare` with a head that is read after this. */
  standings(): ReadonlyMap<Connection, Standing> {
    return new Map(
      [...this.connections].map((connection) => {
        const { position, announced } = connection
        return [connection, { announced, ...position }]
      }),
    )
  }

  /** Compares with a head that the sweep read. Connections that were already beyond it, or in another history, are reset. */
  compare(stream: StreamHead, before: ReadonlyMap<Connection, Standing>): void {
    this.#hub.onEpoch(stream.epoch)
    const end = endOf(stream)
    for (const [connection, { seq, time, announced }] of before) {
      if (!connection.isOpen) continue
      connection.retract(announced, end.seq)
      if (connection.epoch !== stream.epoch) this.#reset(connection, 'epoch', end, stream)
      else if (seq > end.seq) this.#reset(connection, 'ahead', end, stream)
      else if (seq === end.seq && time !== undefined && end.time !== undefined && time !== end.time)
        this.#reset(connection, 'epoch', end, stream)
    }
    this.markRead(stream.epoch, readOf(stream), unreadOf(stream))
    this.announce(stream.epoch, stream.head)
  }

  /**
   * Reads the log until no writable connection is behind. One reader serves all connections, from the lowest cursor on. It
   * stops if a page moves no connection; the next sweep starts it again.
   */
  catchUp(): void {
    if (this.#reading) return
    const after = this.#leastCursorBehind()
    // Called after each event, and hardly ever is a connection behind: make no promise for that.
    if (after !== undefined) this.#readAfter(after).catch(this.#hub.onFailure)
  }

  async #readAfter(from: number): Promise<void> {
    this.#reading = true
    try {
      for (let after: number | undefined = from; after !== undefined; after = this.#leastCursorBehind()) {
        const page = await this.#hub.log.page(this.user, after)
        if (!this.#deliver(page, after)) return
      }
    } finally {
      // In the same turn as the last look at the connections: one that falls behind later finds no reader and starts one.
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

  /** @returns whether any connection moved */
  #deliver(page: StreamPage, after: number): boolean {
    this.#hub.onEpoch(page.epoch)
    this.#hub.traffic.pages++
    let moved = false
    const runs = new Map<number, EventRun>()
    for (const connection of this.connections) {
      if (!connection.behind || connection.epoch !== page.epoch || connection.cursor < after) continue
      const continuation = continueAfter(connection.position, page)
      if (continuation === undefined) continue
      if ('reset' in continuation) {
        this.#reset(connection, continuation.reset, continuation.to, page)
        moved = true
      } else {
        runs.set(continuation.run.first, continuation.run)
      }
    }
    // The run of the lowest cursor comes first and also serves the connections within it.
    for (const first of [...runs.keys()].sort((a, b) => a - b)) {
      const written = this.#offer(page.epoch, runs.get(first) as EventRun, true)
      this.#hub.traffic.caughtUp += written
      if (written > 0) moved = true
    }
    return moved
  }

  #offer(epoch: string, events: EventRun, fromLog: boolean): number {
    let written = 0
    for (const chunk of chunks(epoch, this.cursors, events)) {
      for (const connection of this.connections) written += connection.offer(chunk, fromLog)
    }
    return written
  }

  #reset(connection: Connection, reason: ResetReason, to: Position, stream: StreamHead): void {
    connection.reset(reason, to, stream)
    this.#hub.onReset(reason)
    if (reason !== 'gap' || to.seq === this.#holeAt) return
    this.#holeAt = to.seq
    this.#hub.onHole()
  }
}
