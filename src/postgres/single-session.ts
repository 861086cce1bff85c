import { ConnectionError } from './connection-error.ts'
import type { ConnectionOptions } from './connection-url.ts'
import { fromTheFirst } from './rows.ts'
import { SESSION_SETTINGS, Session } from './session.ts'

export interface SingleSessionOptions {
  readonly connection: ConnectionOptions
  /** The end of its application_name, by which operators find it in pg_stat_activity. */
  readonly purpose: string
  readonly connectTimeoutMs: number
}

/**
 * One connection that is never replaced, for work that relies on its session: advisory locks, settings, a transaction
 * over several statements.
 */
export class SingleSession {
  readonly #session: Session

  private constructor(session: Session) {
    this.#session = session
  }

  /**
   * Connects.
   *
   * @throws what Session.open() throws, or the signal's reason where it is aborted meanwhile
   */
  static async open(
    { connection, purpose, connectTimeoutMs }: SingleSessionOptions,
    signal?: AbortSignal,
  ): Promise<SingleSession> {
    signal?.throwIfAborted()
    const opening = Session.open({
      connection,
      purpose,
      primary: true,
      prepare: false,
      settings: SESSION_SETTINGS,
      timeoutMs: connectTimeoutMs,
    })
    const aborted = new Promise<never>((_, reject) => {
      signal?.addEventListener('abort', () => reject(signal.reason), { once: true })
    })
    try {
      return new SingleSession(await Promise.race([opening, aborted]))
    } catch (error) {
      void opening.then((session) => session.destroy()).catch(() => {})
      throw error
    }
  }

  /** The server process of this session. */
  get pid(): number {
    return this.#session.pid
  }

  /**
   * Sends one statement, or several without parameters.
   *
   * @throws the driver's error, or ConnectionError `CLOSED` if the session has ended
   */
  async query<Row extends object>(
    text: string,
    parameters: readonly (string | number)[] = [],
  ): Promise<readonly Row[]> {
    if (this.#session.closed) throw new ConnectionError('CLOSED', 'the connection was closed')
    return fromTheFirst(await this.#session.sql.unsafe<Row[]>(text, [...parameters]))
  }

  /** Ends the session at once and rejects statements in flight. The server continues them until it notices. */
  end(): void {
    void this.#session.end()
  }
}
