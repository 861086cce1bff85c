/** The fields of an error that a log line contains. */
export interface LoggedError {
  readonly type: string
  readonly message: string
  readonly stack?: string
  readonly cause?: LoggedError
  readonly [field: string]: unknown
}

/**
 * The fields of an error that may be logged, by name. Everything else stays out: Postgres adds the row at fault (`detail`),
 * the statement with its values (`where`, `query`, `parameters`, `internal_query`), and libraries add what they like.
 */
const FIELDS = [
  'code',
  'errno',
  'syscall',
  'address',
  'port',
  'severity',
  'schema_name',
  'table_name',
  'column_name',
  'constraint_name',
  'schema',
  'table',
  'column',
  'constraint',
  'routine',
  'rule',
  'claim',
]

/** SQLSTATE classes whose messages quote values: data exceptions, and errors raised by functions. */
const QUOTING = /^(22|P0)[0-9A-Z]{3}$/
/** From the first quotation mark to the last, because a value may contain quotation marks. */
const QUOTED = /["'].*["']|["'].*/s

/** Bounds a chain of causes, which may be a circle. */
const MOST_CAUSES = 5

/** An error for the log, without rows, statements and values of users, whoever threw it. */
export function loggedError(error: unknown, depth = 0): LoggedError | unknown {
  if (!(error instanceof Error)) return error
  const known = error as Error & Record<string, unknown>
  const fields = Object.fromEntries(
    FIELDS.flatMap((name) =>
      ['string', 'number'].includes(typeof known[name]) ? [[name, known[name]]] : [],
    ),
  )
  const message = loggedMessage(known)
  const cause =
    depth < MOST_CAUSES && error.cause instanceof Error ? loggedError(error.cause, depth + 1) : undefined
  return {
    type: error.constructor.name,
    message,
    ...fields,
    stack: `${error.name}: ${message}${framesOf(error)}`,
    ...(cause === undefined ? {} : { cause }),
  }
}

/** The error's message without the values that it quotes. */
export function loggedMessage(error: Error): string {
  const { code, errors } = error as Error & Record<string, unknown>
  // Node's AggregateError when no address of a host answers: it has no message, but one error for each address.
  const message =
    error.message === '' && Array.isArray(errors)
      ? errors.map((each) => (each instanceof Error ? each.message : '')).join('; ')
      : error.message
  return typeof code === 'string' && QUOTING.test(code) ? message.replace(QUOTED, '…') : message
}

/** The stack without its first lines, which repeat the message. */
function framesOf({ stack = '' }: Error): string {
  const frames = stack.split('\n').filter((line) => /^\s+at /.test(line))
  return frames.map((frame) => `\n${frame}`).join('')
}
