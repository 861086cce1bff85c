import type { Socket } from 'node:net'
import { withTimeout } from '../limits/with-timeout.ts'
import type { ConnectionOptions } from './connection-url.ts'
import { NotificationReader } from './notification-reader.ts'
import { SESSION_SETTINGS, Session } from './session.ts'
import type { ReadChunk } from './socket.ts'

export interface ListenOptions {
  readonly connection: ConnectionOptions
  readonly connectTimeoutMs: number
  /** Server settings that hold for the session besides SESSION_SETTINGS, by name. */
  readonly settings?: Readonly<Record<string, string>>
  /** Awaited before LISTEN, for however long: the session listens only where it resolves. */
  readonly admit?: (sql: Session['sql']) => Promise<void>
  readonly onPayload: (payload: string) => void
  /** Called after the payloads that were read together; not under TLS. rest() costs least from within it. */
  readonly onChunk?: () => void
  readonly onClosed: () => void
}

/** A history of the database, and the channel on which its events are notified: a secret name. */
export interface Heard {
  readonly epoch: string
  readonly channel: string
}

/**
 * One LISTEN session, from its connection to its end; it is never repaired, only replaced. The driver's `sql.listen`
 * repairs itself behind the scenes, says nothing of a failed repair, and cannot let go of a peer that has fallen silent.
 */
export class ListenSession {
  /** The history that this session hears of, and the channel on which it does. */
  readonly heard: Heard
  readonly #session: Session
  readonly #end: () => void
  readonly #reading: Reading
  #resting = false

  private constructor(heard: Heard, session: Session, reading: Reading, end: () => void) {
    this.heard = heard
    this.#session = session
    this.#reading = reading
    this.#end = end
  }

  /** Resolves once LISTEN is in force: what commits from then on is heard. Rejects with what went wrong. */
  static async open(options: ListenOptions): Promise<ListenSession> {
    const { connection, connectTimeoutMs } = options
    let ended = false
    const onPayload = (payload: string) => {
      if (!ended) options.onPayload(payload)
    }
    const reading: Reading = { inChunk: false, goOn: true }
    const session = await Session.open({
      connection,
      primary: true,
      purpose: 'listen',
      timeoutMs: connectTimeoutMs,
      settings: {
        ...SESSION_SETTINGS,
        // A LISTEN session that idles inside a transaction would pin the cluster's NOTIFY queue.
        idle_in_transaction_session_timeout: '10000',
        ...options.settings,
      },
      onNotify: onPayload,
      read: notificationsOut(onPayload, reading, () => {
        if (!ended) options.onChunk?.()
      }),
      onClosed: () => {
        if (ended) return
        ended = true
        options.onClosed()
      },
    })
    const end = () => {
      ended = true
      void session.end()
    }
    // Reading a reply has no time limit of its own in the driver; a server that accepts and is silent must not hold us.
    try {
      await options.admit?.(session.sql)
      const heard = await withTimeout(
        connectTimeoutMs,
        listen(session.sql),
        () => new Error('no answer in time'),
      )
      return new ListenSession(heard, session, reading, end)
    } catch (error) {
      end()
      throw error
    }
  }

  /** Whether the server still answers here; a peer that fell silent has so long. Never rejects. */
  async answers(milliseconds: number): Promise<boolean> {
    const asked = this.#session.sql`select 1`.then(
      () => true,
      () => false,
    )
    return withTimeout(milliseconds, asked, () => new Error('no answer in time')).catch(() => false)
  }

  /**
   * Notifies itself, and reads the history that is written by now. Never rejects; undefined where the server has not
   * answered in time.
   */
  async notify(payload: string, milliseconds: number): Promise<Heard | undefined> {
    const answered = this.#session.sql<
      [Heard?]
    >`select glimpse.epoch() as epoch, channel, pg_notify(channel, ${payload}) from glimpse.history`.then(
      ([row]) => row && { epoch: row.epoch, channel: row.channel },
    )
    return withTimeout(milliseconds, answered, () => new Error('no answer in time')).catch(() => undefined)
  }

  /**
   * Reads what has arrived, then nothing for so long: what comes meanwhile waits in the kernel, and at last in Postgres'
   * queue, and is then read together. Replies on this session wait too.
   */
  rest(milliseconds: number): void {
    if (this.#resting) return
    this.#resting = true
    const later = () =>
      setTimeout(() => {
        this.#resting = false
        this.#session.resume()
      }, milliseconds)
    if (this.#reading.inChunk) {
      // The stream's own pause, and its resume, cost more than reading a few notifications.
      this.#reading.goOn = false
      later()
      return
    }
    // The loop's next phase: after everything that the kernel holds by now has been read, however many chunks that is.
    setImmediate(() => {
      this.#session.pause()
      later()
    })
  }

  /** Ends the session at once, whether or not its peer still answers; `onClosed` is not called. */
  end(): void {
    this.#end()
  }
}

/** Whether a chunk is being read, and whether the next one is to be read after it. */
interface Reading {
  inChunk: boolean
  goOn: boolean
}

/** One reader for each socket that is tried. */
function notificationsOut(
  onPayload: (payload: string) => void,
  reading: Reading,
  onChunk: () => void,
): ReadChunk {
  const readers = new WeakMap<Socket, NotificationReader>()
  return (chunk, socket) => {
    let reader = readers.get(socket)
    if (reader === undefined) {
      reader = new NotificationReader(onPayload, (message) => socket.push(message))
      readers.set(socket, reader)
    }
    reader.read(chunk)
    reading.inChunk = true
    reading.goOn = true
    onChunk()
    reading.inChunk = false
    return reading.goOn
  }
}

/**
 * Listens to the channel that writers notify on. A history that begins between the two reads has another channel, and is
 * listened to instead.
 */
async function listen(sql: Session['sql']): Promise<Heard> {
  let heard = await readHistory(sql)
  for (;;) {
    await sql`listen ${sql(heard.channel)}`
    const current = await readHistory(sql)
    if (current.channel === heard.channel) return current
    await sql`unlisten *`
    heard = current
  }
}

async function readHistory(sql: Session['sql']): Promise<Heard> {
  const [row] = await sql<[Heard?]>`select glimpse.epoch() as epoch, channel from glimpse.history`
  if (row === undefined) throw new Error('glimpse.history has no row: run glimpse new-history')
  return row
}
