import type { Socket } from 'node:net'
import postgres from 'postgres'
import { withTimeout } from '../limits/with-timeout.ts'
import { NotificationReader } from './notification-reader.ts'
import { type Destination, socketFactory } from './socket.ts'

export const CHANNEL = 'glimpse_events'

export interface ListenOptions {
  readonly url: string
  readonly connectTimeoutMs: number
  readonly onPayload: (payload: string) => void
  readonly onClosed: () => void
}

/** Two options of the driver that its types leave out; its own `listen` is made of them. */
interface SessionOptions extends postgres.Options<Record<string, never>> {
  readonly onnotify: (channel: string, payload: string) => void
  readonly socket: (destination: Destination) => Socket
}

/**
 * One LISTEN session, from its connection to its end; it is never mended, only replaced. The driver's `sql.listen`
 * repairs itself behind the scenes, says nothing of a failed repair, and cannot let go of a peer that has fallen silent.
 */
export class ListenSession {
  /** The history that this session hears of. */
  readonly epoch: string
  readonly #end: () => void

  private constructor(epoch: string, end: () => void) {
    this.epoch = epoch
    this.#end = end
  }

  /** Resolves once LISTEN is in force: what commits from then on is heard. Rejects with the driver's error. */
  static async open(options: ListenOptions): Promise<ListenSession> {
    let socket: Socket | undefined
    let reader: NotificationReader
    let ended = false
    const onPayload = (payload: string) => {
      if (!ended) options.onPayload(payload)
    }
    const sessionOptions: SessionOptions = {
      max: 1,
      idle_timeout: 0,
      max_lifetime: null,
      fetch_types: false,
      connect_timeout: options.connectTimeoutMs / 1000,
      connection: {
        application_name: 'glimpse-listen',
        // A LISTEN session that idles inside a transaction would pin the cluster's NOTIFY queue.
        idle_in_transaction_session_timeout: 10_000,
      },
      onnotice: () => {},
      onnotify: (_, payload) => onPayload(payload),
      onclose: () => {
        if (ended) return
        ended = true
        options.onClosed()
      },
      // Made here, because only who holds the socket can end it when the peer has fallen silent.
      socket: socketFactory(
        (opened) => {
          socket = opened
          reader = new NotificationReader(onPayload, (message) => opened.push(message))
        },
        (chunk) => reader.read(chunk),
      ),
    }
    const sql = postgres(options.url, sessionOptions)
    const end = () => {
      ended = true
      // In this order: the driver says goodbye through its TLS, whose failure on a socket that is gone nobody hears of.
      void sql
        .end({ timeout: 0 })
        .catch(() => {})
        .finally(() => socket?.destroy())
    }
    // Reading a reply has no time limit of its own in the driver; a server that accepts and is silent must not hold us.
    try {
      const epoch = await withTimeout(
        options.connectTimeoutMs,
        listen(sql),
        () => new Error('no answer in time'),
      )
      return new ListenSession(epoch, end)
    } catch (error) {
      end()
      throw error
    }
  }

  /** Ends the session at once, whether or not its peer still answers; `onClosed` is not called. */
  end(): void {
    this.#end()
  }
}

/** @returns the epoch that is listened to */
async function listen(sql: postgres.Sql): Promise<string> {
  await sql`listen glimpse_events`
  const [row] = await sql<{ epoch: string }[]>`select glimpse.epoch() as epoch`
  if (row === undefined) throw new Error('no epoch')
  return row.epoch
}
