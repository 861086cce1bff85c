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

/** The log, as far as the hub needs it. Reads of many users may be answered by one statement. */
export interface Log {
  /** @param seq the number whose event's time is asked for too; -1 for none */
  head(user: string, seq: number): Promise<ResumeHead>
  /** In order; undefined where that one stream cannot be read. */
  heads(users: readonly string[]): Promise<readonly (StreamHead | undefined)[]>
  /** The event at `after` and the next ones, as many as one page holds, and where the stream stood then. */
  page(user: string, after: number): Promise<StreamPage>
}

/** Where a connection stands, and what it has heard of. */
interface Standing extends Position {
  readonly announced: number
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
  /** A hole was found in the log that none of the user's connections had met before. */
  readonly onHole: () => void
  readonly onEpoch: (epoch: string) => void
}

/** One user who is connected here, with all of the user's connections and the one reader that brings them up. */
export class Subscriber {
  readonly user: string
  readonly cursors: Cursors
  readonly connections = new Set<Connection>()
  readonly #hub: HubDependencies
  #reading = false
  /** Behind which number the last hole ended, so that it is told once, not for each connection. */
  #holeAt = -1

  constructor(user: string, hub: HubDependencies) {
    this.user = user
    this.cursors = new Cursors(user)
    this.#hub = hub
  }

  /**
   * Events came over the bus: those whose turn it is go out at once, whoever is behind then reads the log. Connections in
   * another history don't take them.
   */
  push(epoch: string, run: EventRun): void {
    this.#hub.traffic.pushed += this.#offer(epoch, run, false)
    this.catchUp()
  }

  /** Something says the stream has reached `head`: a hint without a body, or the sweep. */
  announce(epoch: string, head: number): void {
    for (const connection of this.connections) connection.announce(epoch, head)
    this.catchUp()
  }

  /** The user has read so far: all of the user's devices are told. */
  markRead(epoch: string, read: Position, unread: number): void {
    for (const connection of this.connections) connection.markRead(epoch, read, unread)
  }

  /** Where each connection stands, to be given to `compare` with heads that are read after this. */
  standings(): ReadonlyMap<Connection, Standing> {
    return new Map(
      [...this.connections].map((connection) => {
        const { position, announced } = connection
        return [connection, { ...position, announced }]
      }),
    )
  }

  /** The sweep read the stream's head from the log. Cursors that were beyond it already, or in another history, reset. */
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
      for (let after: number | undefined = from; after !== undefined; after = this.#leastCursorBehind()) {
        const page = await this.#hub.log.page(this.user, after)
        if (!this.#deliver(page, after)) return
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
    // The run of the least cursor comes first, and serves whoever stands within it too.
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
