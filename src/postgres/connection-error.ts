/** The way to Postgres failed; `code` is stable, as a socket's own errors' codes are. */
export class ConnectionError extends Error {
  override readonly name = 'ConnectionError'
  readonly code: ConnectionErrorCode

  constructor(code: ConnectionErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.code = code
  }
}

/**
 * `TIMEOUT`: no answer before the deadline. `CLOSED`: the server closed the connection. `ENDED`: the pool is closed.
 * `STANDBY`: what answers cannot be written to. `TLS`: encryption is refused, or the certificate is.
 */
export type ConnectionErrorCode = 'TIMEOUT' | 'CLOSED' | 'ENDED' | 'STANDBY' | 'TLS'

/** Whether a statement, or an attempt to connect, was given up because nothing answered. */
export function isTimeout(error: unknown): boolean {
  return error instanceof ConnectionError && error.code === 'TIMEOUT'
}
