import { numberToProve } from '../cursor.ts'
import { GlimpseError } from '../errors.ts'
import type { CloseReason, ResumePoint } from '../event.ts'
import { Quota } from '../limits/quota.ts'
import type { Logger } from '../observability/log.ts'
import type { Metrics } from '../observability/metrics.ts'
import { CLOSES, type Clock, Connection, type ConnectionLimits } from './connection.ts'
import { type ResumeHead, startFrom } from './resume.ts'
import type { Sink } from './sink.ts'
import { type HubDependencies, type Log, Subscriber, type Traffic } from './subscriber.ts'
import { Sweep } from './sweep.ts'
import { TimerWheel } from './wheel.ts'

export interface HubOptions {
  readonly eventLog: Log
  readonly limits: ConnectionLimits & {
    readonly maxConnections: number
    readonly maxConnectionsPerUser: number
    readonly maxConnectionsPerAddress: number
  }
  readonly clock: Clock
  /** Records the open connections. */
  readonly presence?: {
    opened(connection: Connection): void
    closed(id: string): void
  }
  /** What events are heard by: it is told which users are here. */
  readonly interest?: {
    /** @returns what resolves, before long, once the user's events are heard; undefined where they are already. Never rejects. */
    follow(user: string): Promise<void> | undefined
    unfollow(user: string): void
  }
  readonly log: Logger
  readonly metrics: Metrics
}

/** A registered connection whose transport can begin now. */
export interface Registration {
  readonly connection: Connection
  /** Attaches the transport; the first messages are written before this returns. */
  begin(sink: Sink): void
  /** Sets the new end of the connection (wall time, ms). */
  renew(expiresAt: number): void
  /** Called when the socket has drained: the connection continues if it was held up. */
  drained(): void
}

/** The drain is spread by this per connection, and at most over the drain time: a few connections end at once. */
const DRAIN_MS_PER_CONNECTION = 20

/** The users who are connected to this instance, with their connections. */
export class Hub {
  readonly traffic: Traffic = { pushed: 0, caughtUp: 0, pages: 0 }
  readonly #options: HubOptions
  readonly #users = new Map<string, Subscriber>()
  readonly #wheel: TimerWheel
  readonly #networks: Quota
  readonly #sweep: Sweep
  /** Shared by all subscribers, so that thousands of users do not keep closures of their own. */
  readonly #dependencies: HubDependencies
  readonly #onClosed = (connection: Connection, reason: CloseReason | 'gone') =>
    this.#remove(connection, reason)
  #epoch = ''
  #connections = 0
  #draining = false

  constructor(options: HubOptions) {
    this.#options = options
    this.#networks = new Quota(options.limits.maxConnectionsPerAddress)
    this.#sweep = new Sweep(() => this.#users.values(), options.eventLog, options.log)
    this.#dependencies = {
      log: options.eventLog,
      traffic: this.traffic,
      onFailure: (error) =>
        options.log.debug({ err: error }, 'catching up failed; the next sweep tries again'),
      onReset: (reason) => options.metrics.resets.inc({ reason }),
      onHole: () => this.#tellHole(),
      onEpoch: (epoch) => this.#adopt(epoch),
    }
    const tickMs = Math.max(10, Math.min(250, options.limits.heartbeatIntervalMs / 4))
    this.#wheel = new TimerWheel({ tickMs, slots: 512, now: options.clock.monotonic })
    this.#wheel.start()
  }

  get users(): number {
    return this.#users.size
  }

  get connections(): number {
    return this.#connections
  }

  /** The number of connections that are behind, and the unsent bytes. It looks at every connection, so call it seldom. */
  survey(): { behind: Record<Sink['transport'], number>; unsentBytes: number } {
    const behind = { sse: 0, websocket: 0, 'durable-stream': 0 }
    let unsentBytes = 0
    for (const { connections } of this.#users.values()) {
      for (const connection of connections) {
        unsentBytes += connection.unsent
        if (connection.behind && connection.transport !== undefined) behind[connection.transport]++
      }
    }
    return { behind, unsentBytes }
  }

  get draining(): boolean {
    return this.#draining
  }

  /** A user who has a connection here. */
  subscriber(user: string): Subscriber | undefined {
    return this.#users.get(user)
  }

  /**
   * Registers a connection and follows its user, then reads the head. In this order no event is missed between the two, and
   * none comes twice.
   *
   * @param expiresAt when the connection ends unless it is renewed (wall time, ms)
   * @param network the network that limits count it against
   * @param onPlace gets a function that undoes the registration, for a client that leaves before its stream begins
   * @throws GlimpseError `draining`, `full`, `too_many_requests` if the network has its share of connections, or
   *   `unavailable` if the log cannot be read
   */
  async enter(
    user: string,
    resume: ResumePoint,
    expiresAt: number,
    network: string,
    onPlace?: (leave: () => void) => void,
  ): Promise<Registration> {
    if (this.#draining) {
      throw new GlimpseError('draining', {
        detail: 'This instance is stopping; connect again.',
        retryAfter: 1,
      })
    }
    if (this.#connections >= this.#options.limits.maxConnections) {
      this.#options.metrics.limited.inc({ limit: 'connections' })
      throw new GlimpseError('full', {
        detail: 'This instance holds as many connections as it may.',
        retryAfter: 5,
      })
    }
    const { clock, limits } = this.#options
    this.#takeShare(network)
    const subscriber = this.#subscriberOf(user)
    const connection = new Connection({
      user,
      cursors: subscriber.cursors,
      network,
      expiresAt,
      clock,
      limits,
      onClosed: this.#onClosed,
    })
    subscriber.connections.add(connection)
    this.#connections++
    this.#setAlarm(connection)
    onPlace?.(() => connection.gone())
    try {
      const followed = this.#options.interest?.follow(user)
      if (followed !== undefined) await followed
      const stream = await this.#options.eventLog.head(user, numberToProve(resume))
      return {
        begin: (sink) => this.#begin(subscriber, connection, sink, resume, stream),
        ...this.#handles(subscriber, connection),
      }
    } catch (error) {
      connection.gone()
      throw error
    }
  }

  /** Ends one connection of a user. @returns whether it was here */
  end(user: string, id: string, reason: CloseReason): boolean {
    const connection = [...(this.#users.get(user)?.connections ?? [])].find((each) => each.id === id)
    connection?.close(reason)
    return connection !== undefined
  }

  /** The bus is in force again, in this history; what was sent before may have been missed. */
  gap(epoch: string): void {
    this.#adopt(epoch)
    void this.sweep()
  }

  /** Finds, in the log, what no NOTIFY brought. Never rejects. */
  sweep(): Promise<void> {
    return this.#sweep.run()
  }

  /** The same for a few users, of whom something may have been missed. Never rejects. */
  recheck(users: readonly string[]): Promise<void> {
    return this.#sweep.only(
      users.map((user) => this.#users.get(user)).filter((subscriber) => subscriber !== undefined),
    )
  }

  /** Stops taking connections and ends the open ones, spread over `spreadMs`, so that they don't all return at once. */
  async drain(spreadMs: number, sleep: (ms: number) => Promise<void>): Promise<void> {
    this.#draining = true
    const { retryMs } = CLOSES.draining
    const open = [...this.#users.values()].flatMap((subscriber) => [...subscriber.connections])
    const stepMs = 50
    const { monotonic } = this.#options.clock
    const startedAt = monotonic()
    const steps = Math.ceil(Math.min(spreadMs, open.length * DRAIN_MS_PER_CONNECTION) / stepMs)
    for (let step = 0; step < steps; step++) {
      const until = Math.ceil((open.length * (step + 1)) / steps)
      const from = Math.ceil((open.length * step) / steps)
      for (const connection of open.slice(from, until)) {
        connection.close('draining', Math.round(retryMs * (0.5 + Math.random())))
      }
      // Until a fixed time: each sleep of a loaded process is late, and eighty late ones would be seconds.
      if (step + 1 < steps) await sleep(Math.max(0, startedAt + (step + 1) * stepMs - monotonic()))
    }
  }

  /** Ends all connections at once. */
  close(): void {
    this.#draining = true
    this.#wheel.stop()
    for (const subscriber of this.#users.values()) {
      for (const connection of [...subscriber.connections]) connection.destroy()
    }
  }

  /** The functions that a transport keeps while the connection lasts. Made here, so that their closures keep nothing of its start. */
  #handles(subscriber: Subscriber, connection: Connection): Omit<Registration, 'begin'> {
    return {
      connection,
      renew: (until) => {
        connection.renew(until)
        if (connection.isOpen) this.#setAlarm(connection)
      },
      drained: () => subscriber.catchUp(),
    }
  }

  #begin(
    subscriber: Subscriber,
    connection: Connection,
    sink: Sink,
    resume: ResumePoint,
    stream: ResumeHead,
  ): void {
    this.#adopt(stream.epoch)
    const start = startFrom(resume, stream, subscriber.cursors)
    connection.open(sink, start, stream)
    if (!connection.isOpen) return
    // The alarm that was set on entering did not include heartbeats.
    this.#setAlarm(connection)
    if (start.reset !== undefined) this.#options.metrics.resets.inc({ reason: start.reset })
    if (start.reset === 'gap') this.#tellHole()
    this.#options.metrics.connectionsOpened.inc({ transport: sink.transport })
    this.#options.metrics.connections.inc({ transport: sink.transport })
    this.#options.presence?.opened(connection)
    this.#replaceOldest(subscriber)
    subscriber.catchUp()
  }

  #setAlarm(connection: Connection): void {
    this.#wheel.set(connection, connection.alarm(this.#options.clock.monotonic()))
  }

  /** Past the bound the oldest connection is closed: a user who opens a new tab wants the new one. */
  #replaceOldest(subscriber: Subscriber): void {
    let excess = subscriber.connections.size - this.#options.limits.maxConnectionsPerUser
    for (const oldest of subscriber.connections) {
      if (excess-- <= 0) return
      oldest.close('replaced')
    }
  }

  #takeShare(network: string): void {
    if (this.#networks.take(network)) return
    this.#options.metrics.limited.inc({ limit: 'address_connections' })
    throw new GlimpseError('too_many_requests', {
      detail: 'This address holds as many connections as it may.',
      retryAfter: 5,
    })
  }

  #subscriberOf(user: string): Subscriber {
    let subscriber = this.#users.get(user)
    if (subscriber === undefined) {
      subscriber = new Subscriber(user, this.#dependencies)
      this.#users.set(user, subscriber)
    }
    return subscriber
  }

  #remove(connection: Connection, reason: CloseReason | 'gone'): void {
    this.#wheel.delete(connection)
    this.#connections--
    this.#networks.release(connection.network)
    const subscriber = this.#users.get(connection.user)
    subscriber?.connections.delete(connection)
    if (subscriber?.connections.size === 0) {
      this.#users.delete(connection.user)
      this.#options.interest?.unfollow(connection.user)
    }
    if (connection.transport === undefined) return
    this.#options.presence?.closed(connection.id)
    this.#options.metrics.connections.dec({ transport: connection.transport })
    this.#options.metrics.connectionsClosed.inc({ transport: connection.transport, reason })
  }

  #tellHole(): void {
    this.#options.log.warn('the log lacks events that it should have; its clients are sent stream.reset')
  }

  /** A read or the bus met another history: everybody moves there, told by a reset. */
  #adopt(epoch: string): void {
    if (epoch === this.#epoch) return
    if (this.#epoch !== '') {
      this.#options.log.warn({ from: this.#epoch, to: epoch }, 'the database continues in another history')
      void this.sweep()
    }
    this.#epoch = epoch
  }
}
