import type { CloseReason, ControlMessage } from '../event.ts'

/** How a transport frames consecutive events. Stateless and shared, so that a run is encoded once for all sockets. */
export interface Codec {
  /** Consecutive events, the first with the number `first`, as the bytes of one write; an id for each body. */
  encode(first: number, ids: readonly string[], bodies: readonly string[]): Buffer
}

/** The far end of a connection, as the hub sees it: a transport's socket. */
export interface Sink {
  readonly transport: 'sse' | 'websocket' | 'durable-stream'
  readonly codec: Codec
  /** Bytes handed over and not yet taken by the kernel. */
  readonly unsent: number
  /** Bytes the kernel has taken since the connection began; a number that stands still is a peer that reads nothing. */
  readonly sent: number
  write(frames: Buffer): void
  control(message: ControlMessage): void
  /** Shows the peer, and every proxy between, that the connection lives. False where the peer has stopped answering. */
  heartbeat(): boolean
  /** Tells the peer why, and ends the connection. */
  close(reason: CloseReason, retryMs: number): void
  /** Ends the connection without a word. */
  destroy(): void
}
