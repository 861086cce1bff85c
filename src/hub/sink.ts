import type { CloseReason, ControlMessage } from '../event.ts'

/** How a transport frames consecutive events. Stateless and shared, so that a chunk is encoded once for all sockets. */
export interface Codec {
  /** Consecutive events, the first with the number `first`, as the bytes of one write; an id for each body. */
  encode(first: number, ids: readonly string[], bodies: readonly string[]): Buffer
}

/** The transport's side of a connection. */
export interface Sink {
  readonly transport: 'sse' | 'websocket' | 'durable-stream'
  readonly codec: Codec
  /** Bytes handed over and not yet taken by the kernel. */
  readonly unsent: number
  /** Bytes that the kernel has taken since the connection began. If it does not grow, the client reads nothing. */
  readonly sent: number
  write(frames: Buffer): void
  control(message: ControlMessage): void
  /** Sends a heartbeat, which client and proxies see. @returns false if the client has stopped answering */
  heartbeat(): boolean
  /** Sends the reason and ends the connection. */
  close(reason: CloseReason, retryMs: number): void
  /** Ends the connection without a message. */
  destroy(): void
}
