import { Socket } from 'node:net'
import postgres from 'postgres'
import { ConnectionError } from './connection-error.ts'
import type { ConnectionOptions, Endpoint } from './connection-url.ts'
import { connectFirst } from './endpoints.ts'
import { type OpenSocket, openSocket, type ReadChunk } from './socket.ts'
import { TYPES } from './types.ts'

export interface SessionOptions {
  readonly connection: ConnectionOptions
  /** Whether it must be a primary, even if the URL does not require one. */
  readonly primary?: boolean
  /** The end of its application_name. */
  readonly purpose: string
  /**
   * Server settings for the session, by name; they overrule the server's defaults. None through a transaction pooler, which
   * would pass them on to other clients.
   */
  readonly settings?: Readonly<Record<string, string>> | undefined
  /** The default timeout of one attempt at one endpoint. */
  readonly timeoutMs?: number
  /** Whether statements are kept prepared; false through a transaction pooler. */
  readonly prepare?: boolean
  /** Reads the bytes of a socket without TLS before the driver does. */
  readonly read?: ReadChunk | undefined
  readonly onNotify?: (payload: string) => void
  /** Called once, when the session has ended for any reason. */
  readonly onClosed?: (session: Session) => void
}

/**
 * Settings that our statements need, whatever the defaults of the role and the database are. With `serializable` some writes
 * would fail, a negative `extra_float_digits` would round numbers of events, and idle sessions would be ended.
 */
export const SESSION_SETTINGS: Readonly<Record<string, string>> = {
  default_transaction_isolation: 'read committed',
  default_transaction_read_only: 'off',
  default_transaction_deferrable: 'off',
  extra_float_digits: '1',
  standard_conforming_strings: 'on',
  statement_timeout: '0',
  lock_timeout: '0',
  idle_session_timeout: '0',
  transaction_timeout: '0',
}

/** Options of the driver that its types do not have. */
interface DriverOptions extends postgres.Options<typeof TYPES> {
  readonly socket: () => Socket
  readonly onnotify?: ((channel: string, payload: string) => void) | undefined
  readonly no_subscribe: boolean
}

interface Backend {
  readonly pid: number
  readonly secret: number
}

/**
 * One connection with its driver, from its opening to its end. It is never repaired, only replaced.
 *
 * opening → open → closed. The driver gets an open socket and never makes another, because it loses statements when a
 * connection breaks (README.md in this folder).
 */
export class Session {
  /** The driver. It rejects statements once the session is closed. */
  readonly sql: postgres.Sql
  readonly openedAt = performance.now()
  /** Whether the server is a standby. */
  readonly standby: boolean
  readonly #options: SessionOptions
  readonly #endpoint: Endpoint
  readonly #opened: OpenSocket
  readonly #backend: Backend
  #closed = false

  private constructor(
    options: SessionOptions,
    opened: OpenSocket,
    endpoint: Endpoint,
    sql: postgres.Sql,
    begun: Begun,
  ) {
    this.#options = options
    this.#opened = opened
    this.#endpoint = endpoint
    this.#backend = begun.backend
    this.sql = sql
    this.standby = begun.standby
    opened.socket.once('close', () => this.#end())
  }

  /** @throws what connectFirst() throws; ConnectionError `STANDBY` where a primary is asked for and none was found */
  static open(options: SessionOptions): Promise<Session> {
    const { connection, timeoutMs, read } = options
    return connectFirst(
      connection,
      async (opened, endpoint) => {
        const sql = driver(options, endpoint, opened.socket)
        try {
          const begun = await begin(sql, options.settings)
          if (begun.standby && (options.primary || connection.primary))
            throw new ConnectionError('STANDBY', 'the server is a standby, which cannot be written to')
          if (opened.socket.destroyed) throw new ConnectionError('CLOSED', 'the server closed the connection')
          return new Session(options, opened, endpoint, sql, begun)
        } catch (error) {
          void sql.end({ timeout: 0 }).catch(() => {})
          throw error
        }
      },
      { ...(timeoutMs === undefined ? {} : { timeoutMs }), read },
    )
  }

  /** The process id of the backend; a pooler makes up its own. */
  get pid(): number {
    return this.#backend.pid
  }

  /** Whether it can send nothing any more: the socket's error comes a moment before its close. */
  get closed(): boolean {
    return this.#closed || this.#opened.socket.destroyed
  }

  /** Bytes received from the server. */
  get bytesRead(): number {
    return this.#opened.socket.bytesRead
  }

  /** Reads nothing more until resume(). What the server sends waits in the kernel. */
  pause(): void {
    this.#opened.socket.pause()
  }

  resume(): void {
    this.#opened.socket.resume()
  }

  /** Sends a cancel request for the executing statement, over a connection of its own. Never rejects. */
  cancel(): void {
    void sendCancel(this.#options.connection, this.#endpoint, this.#backend, this.#opened.encrypted).catch(
      () => {},
    )
  }

  /** Ends the session at once, even if the server does not answer. Rejects statements in flight with `reason`. */
  destroy(reason: Error = new ConnectionError('ENDED', 'the connection was given up')): void {
    this.#opened.socket.destroy(reason)
  }

  /** Sends Terminate and ends. For an idle session. */
  async end(): Promise<void> {
    // In this order: the driver sends Terminate over TLS, and its failure on a destroyed socket would be unhandled.
    await this.sql.end({ timeout: 0 }).catch(() => {})
    this.#opened.socket.destroy()
  }

  #end(): void {
    if (this.#closed) return
    this.#closed = true
    void this.sql.end({ timeout: 0 }).catch(() => {})
    this.#options.onClosed?.(this)
  }
}

/** Sets every option, so that the driver looks up none of libpq's environment variables (PGHOST, PGSSLMODE …). */
function driver(options: SessionOptions, endpoint: Endpoint, socket: Socket): postgres.Sql {
  const { connection, purpose, onNotify, prepare = true } = options
  let given = false
  const driverOptions: DriverOptions = {
    host: endpoint.host,
    port: endpoint.port,
    user: connection.user,
    password: connection.password,
    database: connection.database,
    max: 1,
    ssl: false,
    prepare,
    debug: false,
    // At each connect the driver would query all types without awaiting the answer: a reset in that moment would be an
    // unhandled rejection, which ends the process.
    fetch_types: false,
    types: TYPES,
    // The whole attempt has a timeout, and a session is never reopened, so the driver's timers are off.
    connect_timeout: 0,
    idle_timeout: 0,
    max_lifetime: null,
    keep_alive: 0,
    backoff: () => 0,
    no_subscribe: true,
    connection: {
      application_name: `${connection.name}-${purpose}`,
      ...(connection.startupOptions === undefined ? {} : { options: connection.startupOptions }),
    },
    onnotice: () => {},
    onnotify: onNotify && ((_, payload) => onNotify(payload)),
    socket: () => {
      if (given) return dead()
      given = true
      return socket
    },
  }
  return postgres(driverOptions)
}

/** A socket that fails: the driver must not reconnect for the statements in its queue. */
function dead(): Socket {
  const socket = new Socket()
  socket.on('error', () => {})
  setImmediate(() => socket.destroy(new ConnectionError('CLOSED', 'the connection is closed')))
  return socket
}

interface Begun {
  readonly standby: boolean
  readonly backend: Backend
}

/** The first statement: applies the settings that this version of Postgres has. */
async function begin(sql: postgres.Sql, settings: SessionOptions['settings'] = {}): Promise<Begun> {
  const values = Object.entries(settings).map(([name, value]) => `('${name}', '${value}')`)
  const set =
    values.length === 0
      ? '0'
      : `(select pg_catalog.count(pg_catalog.set_config(s.name, v.value, false))
            from (values ${values.join(', ')}) as v (name, value) join pg_catalog.pg_settings s on s.name = v.name)`
  const rows = await sql.unsafe<{ standby: boolean }[]>(
    `select pg_catalog.pg_is_in_recovery() as standby, ${set} as settings`,
  )
  return { standby: rows[0]?.standby === true, backend: rows.state as unknown as Backend }
}

const CANCEL_TIMEOUT_MS = 3000

/** PostgreSQL, Message Formats: CancelRequest. The server answers it by closing the connection. */
async function sendCancel(
  connection: ConnectionOptions,
  endpoint: Endpoint,
  { pid, secret }: Backend,
  encrypted: boolean,
): Promise<void> {
  const request = Buffer.alloc(16)
  request.writeInt32BE(16, 0)
  request.writeInt32BE(80_877_102, 4)
  request.writeInt32BE(pid | 0, 8)
  request.writeInt32BE(secret | 0, 12)
  const encryption = encrypted ? 'always' : 'none'
  const { socket } = await openSocket({ connection, endpoint, encryption, timeoutMs: CANCEL_TIMEOUT_MS })
  socket.setTimeout(CANCEL_TIMEOUT_MS, () => socket.destroy())
  socket.end(request)
  socket.resume()
}
