import { StartError } from '../errors.ts'
import type { ConnectionOptions } from '../postgres/connection-url.ts'

const REASONS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ENOTFOUND: 'host name not found',
  ETIMEDOUT: 'no answer',
}

/**
 * A start that fails here has not begun to migrate: the message must not send anybody looking at the schema.
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
