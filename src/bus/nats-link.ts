import type { NatsConnection, Subscription } from '@nats-io/transport-node'
import { pause } from '../limits/pause.ts'
import { withTimeout } from '../limits/with-timeout.ts'
import type { Logger } from '../observability/log.ts'
import { CredentialsRefused, connectToNats, type NatsServers } from './nats-servers.ts'

export interface NatsLinkOptions {
  readonly servers: NatsServers
  /** The name of the connection in NATS' monitoring. */
  readonly name: string
  readonly log: Logger
  readonly proofIntervalMs?: number
  /** The timeout of connecting and of a round trip. */
  readonly timeoutMs?: number
}

/** Receives the events of a link. */
export interface LinkListener {
  /** The link is connected and all subscriptions are in force. Earlier messages may be lost. */
  readonly onUp: () => void
  readonly onDown?: () => void
}

/** What the bus and the relay use of NATS. */
export interface Link {
  /** Whether messages get through, by the last round trip. */
  readonly up: boolean
  /** Subscribes to a subject, on this and all later connections. @returns a function that unsubscribes */
  subscribe(subject: string, onMessage: (text: string) => void): () => void
  /** Sends a message if the link is up; else drops it, because a queue would grow without bound. */
  publish(subject: string, text: string): void
  /** Whether the server has processed everything that was sent before. Never rejects. */
  roundTrip(milliseconds: number): Promise<boolean>
  listen(listener: LinkListener): () => void
}

const PROOF_INTERVAL_MS = 1000
const TIMEOUT_MS = 2000
const FIRST_BACKOFF_MS = 50
const MAX_BACKOFF_MS = 1000

interface Interest {
  readonly subject: string
  readonly onMessage: (text: string) => void
  subscription: Subscription | undefined
}

/**
 * One supervised connection to NATS. A round trip every second proves it, because a stopped server, or one whose host is gone,
 * gives no sign. A connection is never repaired, only replaced: the library's own repair waits for a write that a stopped
 * server never reads.
 *
 * connecting → up → (closed, or a proof is late) → connecting …
 */
export class NatsLink implements Link {
  readonly #options: Required<Pick<NatsLinkOptions, 'proofIntervalMs' | 'timeoutMs'>> & NatsLinkOptions
  readonly #closing = new AbortController()
  readonly #interests = new Set<Interest>()
  readonly #listeners = new Set<LinkListener>()
  #connection: NatsConnection | undefined
  #up = false
  #interrupt = (_reason: string) => {}
  #downSince: number | undefined
  /** What NATS refused, which it does again at each attempt. */
  readonly #told = new Set<string>()

  constructor(options: NatsLinkOptions) {
    this.#options = { proofIntervalMs: PROOF_INTERVAL_MS, timeoutMs: TIMEOUT_MS, ...options }
  }

  get up(): boolean {
    return this.#up
  }

  /**
   * Tries to connect once; after that it keeps trying in the background.
   *
   * @returns whether that first attempt succeeded
   * @throws CredentialsRefused
   */
  async start(): Promise<boolean> {
    const refused = await this.#connect().then(
      () => undefined,
      (error: Error) => error,
    )
    if (refused instanceof CredentialsRefused) throw refused
    if (refused !== undefined) {
      this.#downSince = performance.now()
      this.#options.log.warn({ reason: refused.message }, 'no connection to NATS; trying again')
    }
    void this.#supervise()
    return refused === undefined
  }

  subscribe(subject: string, onMessage: (text: string) => void): () => void {
    const interest: Interest = { subject, onMessage, subscription: undefined }
    this.#interests.add(interest)
    if (this.#connection !== undefined) this.#subscribe(this.#connection, interest)
    return () => {
      this.#interests.delete(interest)
      interest.subscription?.unsubscribe()
    }
  }

  publish(subject: string, text: string): void {
    // A connection that has just closed is not replaced yet and would throw.
    if (this.#up && this.#connection?.isClosed() === false) this.#connection.publish(subject, text)
  }

  async roundTrip(milliseconds: number): Promise<boolean> {
    const connection = this.#connection
    if (connection === undefined || connection.isClosed()) return false
    return answers(connection, milliseconds)
  }

  listen(listener: LinkListener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** A pending connection attempt cannot be stopped; when it ends, its connection is closed. */
  async close(): Promise<void> {
    this.#closing.abort()
    await this.#drop()
  }

  async #supervise(): Promise<void> {
    const { signal } = this.#closing
    let backoffMs = FIRST_BACKOFF_MS
    while (!signal.aborted) {
      if (this.#connection === undefined) {
        try {
          await this.#connect()
          backoffMs = FIRST_BACKOFF_MS
        } catch (error) {
          this.#options.log.debug({ err: error }, 'no connection to NATS')
          await pause(backoffMs * (0.5 + Math.random() / 2), signal, false)
          backoffMs = Math.min(backoffMs * 2, MAX_BACKOFF_MS)
        }
        continue
      }
      const { proofIntervalMs, timeoutMs } = this.#options
      const connection = this.#connection
      const reason = await Promise.race([
        connection
          .closed()
          .then((error) => (error instanceof Error ? error.message : 'the connection ended')),
        pause(proofIntervalMs, signal, false),
      ])
      if (signal.aborted) return
      if (reason !== undefined) await this.#replace(reason)
      else if (!(await answers(connection, timeoutMs)) && !signal.aborted)
        await this.#replace('the server does not answer')
    }
  }

  async #replace(reason: string): Promise<void> {
    if (this.#downSince === undefined) {
      this.#downSince = performance.now()
      this.#options.log.warn({ reason }, 'the connection to NATS is lost; connecting again')
    }
    await this.#drop()
  }

  /** Closes the connection at once, even if the server does not answer. */
  async #drop(): Promise<void> {
    const connection = this.#connection
    this.#connection = undefined
    const wasUp = this.#up
    this.#up = false
    for (const interest of this.#interests) interest.subscription = undefined
    if (wasUp) for (const { onDown } of this.#listeners) onDown?.()
    await connection?.close().catch(() => {})
  }

  async #connect(): Promise<void> {
    const { servers, name, timeoutMs, log } = this.#options
    const connection = await connectToNats(servers, name, timeoutMs)
    if (this.#closing.signal.aborted) return connection.close()
    void this.#tellErrors(connection)
    void connection.closed().then((error) => this.#interrupt(error?.message ?? 'the connection ended'))
    this.#connection = connection
    for (const interest of this.#interests) this.#subscribe(connection, interest)
    if (!(await answers(connection, timeoutMs))) {
      await this.#drop()
      throw new Error('the server does not answer')
    }
    if (this.#closing.signal.aborted) return
    this.#up = true
    const outageMs = this.#downSince && Math.round(performance.now() - this.#downSince)
    this.#downSince = undefined
    log.info({ server: connection.getServer(), outageMs }, 'connected to NATS')
    for (const { onUp } of this.#listeners) onUp()
  }

  #subscribe(connection: NatsConnection, interest: Interest): void {
    interest.subscription = connection.subscribe(interest.subject, {
      callback: (error, message) => {
        if (error !== null) return
        try {
          interest.onMessage(textOf(message.data))
        } catch (err) {
          // An exception would make the library end the connection. The sweep delivers these events from the log.
          this.#options.log.error({ err }, 'a NATS message could not be read')
        }
      },
    })
  }

  /** Handles errors such as a forbidden subject, or being disconnected as a slow consumer. */
  async #tellErrors(connection: NatsConnection): Promise<void> {
    for await (const status of connection.status()) {
      if (status.type !== 'error') continue
      // Without the digest of a user or an instance: each of them is refused the same.
      const reason = status.error.message.replace(/\.([ui])\.[\w-]+/, '.$1.*')
      if (this.#told.has(reason)) continue
      this.#told.add(reason)
      this.#options.log.error({ reason }, 'NATS refuses something')
    }
  }
}

/** Whether the server answers a PING that is sent after everything else. */
function answers(connection: NatsConnection, milliseconds: number): Promise<boolean> {
  const answered = connection.flush().then(
    () => true,
    () => false,
  )
  return withTimeout(milliseconds, answered, () => new Error('no answer in time')).catch(() => false)
}

function textOf(data: Uint8Array): string {
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('utf8')
}
