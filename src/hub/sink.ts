import type { CloseReason, ControlMessage } from '../event.ts'

/** How a transport frames consecutive events. Stateless and shared, so that a chunk is encoded once for all sockets. */
export interface Codec {
  /** Consecutive events as the text of one write, in a form that only the codec's sinks know; an id for each body. */
  encode(ids: readonly string[], bodies: readonly string[]): string
}

/** The transport's side of a connection. */
export interface Sink {
  readonly transport: 'sse' | 'websocket' | 'durable-stream'
  readonly codec: Codec
  /** Bytes handed over and not yet taken by the kernel. */
  readonly unsent: number
  /** Bytes that the kernel has taken since the connection began. If it does not grow, the client reads nothing. */
  readonly sent: number
  /** Writes what the codec made. */
  write(frames: string): void
  control(message: ControlMessage): void
  /** Sends a heartbeat, which client and proxies see. @returns false if the client has stopped answering */
  heartbeat(): boolean
  /** Sends the reason and ends the connection. */
  close(reason: CloseReason, retryMs: number): void
  /** Ends the connection without a message. */
  destroy(): void
}
