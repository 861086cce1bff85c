import { StartError } from '../errors.ts'
import type { ConnectionOptions } from './connection-url.ts'

/** The connection to Postgres failed. `code` is stable, like the codes of socket errors. */
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
 * `STANDBY`: the server is read-only. `TLS`: the server refuses encryption, or its certificate is refused.
 */
export type ConnectionErrorCode = 'TIMEOUT' | 'CLOSED' | 'ENDED' | 'STANDBY' | 'TLS'

/** Whether a statement or a connection attempt timed out. */
export function isTimeout(error: unknown): boolean {
  return error instanceof ConnectionError && error.code === 'TIMEOUT'
}

const REASONS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ENOTFOUND: 'host name not found',
  ETIMEDOUT: 'no answer',
}

/**
 * The error of a start that could not connect. It does not speak of migrations, because none has begun.
 *
 * @param variable the one that holds the URL
 */
export function cannotConnect(
  variable: string,
  { endpoints }: ConnectionOptions,
  error: NodeJS.ErrnoException,
): StartError {
  const places = endpoints.map(({ host, port, path }) => path ?? `${host}:${port}`).join(', ')
  const reason = REASONS[error.code ?? ''] ?? (error.message.split('\n', 1)[0] || error.code)
  return new StartError(`cannot connect to the database in ${variable} (${places}): ${reason}`, {
    cause: error,
  })
}
