import type { Socket } from 'node:net'
import postgres from 'postgres'
import { type Destination, socketFactory } from './socket.ts'

/** An option of the driver that its types leave out. */
interface SessionOptions extends postgres.Options<Record<string, never>> {
  readonly socket: (destination: Destination) => Socket
}

export interface SingleSessionOptions {
  readonly url: string
  /** `application_name`, by which operators find it in pg_stat_activity. */
  readonly name: string
  readonly connectTimeoutMs: number
}

/**
 * One connection that is never replaced, for work that relies on its session: advisory locks, settings, a transaction
 * over several statements. The driver would connect anew for the next statement, without what the session held.
 */
export class SingleSession {
  readonly #sql: postgres.Sql
  readonly #socket: { current: Socket | undefined }
  readonly #state: { lost: boolean }
  #pid = 0

  private constructor(sql: postgres.Sql, socket: { current: Socket | undefined }, state: { lost: boolean }) {
    this.#sql = sql
    this.#socket = socket
    this.#state = state
  }

  /**
   * Connects.
   *
   * @throws the driver's error, or the signal's reason where it is aborted meanwhile
   */
  static async open(
    { url, name, connectTimeoutMs }: SingleSessionOptions,
    signal?: AbortSignal,
  ): Promise<SingleSession> {
    const socket: { current: Socket | undefined } = { current: undefined }
    const state = { lost: false }
    const options: SessionOptions = {
      max: 1,
      idle_timeout: 0,
      max_lifetime: null,
      fetch_types: false,
      prepare: false,
      connect_timeout: connectTimeoutMs / 1000,
      connection: { application_name: name },
      onnotice: () => {},
      onclose: () => {
        state.lost = true
      },
      socket: socketFactory((opened) => {
        socket.current = opened
      }),
    }
    const session = new SingleSession(postgres(url, options), socket, state)
    const end = () => session.end()
    signal?.addEventListener('abort', end, { once: true })
    try {
      signal?.throwIfAborted()
      const [row] = await session.query<{ pid: number }>('select pg_backend_pid() as pid')
      session.#pid = row?.pid ?? 0
      return session
    } catch (error) {
      session.end()
      throw signal?.aborted ? signal.reason : error
    } finally {
      signal?.removeEventListener('abort', end)
    }
  }

  /** The server process of this session. */
  get pid(): number {
    return this.#pid
  }

  /**
   * Sends a statement, or without parameters several at once.
   *
   * @throws the driver's error, also where the session has ended before
   */
  async query<Row extends object>(
    text: string,
    parameters: readonly (string | number)[] = [],
  ): Promise<readonly Row[]> {
    if (this.#state.lost) throw new Error('the connection was closed')
    return this.#sql.unsafe<Row[]>(text, [...parameters])
  }

  /** Ends the session at once; what is under way is rejected. The server goes on with it until it notices. */
  end(): void {
    this.#state.lost = true
    // In this order: the driver says goodbye through its TLS, whose failure on a socket that is gone nobody hears of.
    void this.#sql
      .end({ timeout: 0 })
      .catch(() => {})
      .finally(() => this.#socket.current?.destroy())
  }
}
