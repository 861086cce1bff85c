/** A statement of the driver, with the function that its `cancel()` calls; its types leave that out. */
interface Cancellable extends PromiseLike<unknown> {
  canceller?: ((query: Cancellable) => Promise<void>) | null
  /** Whether it was ever to be sent: a fragment of another statement never is. */
  readonly executed?: boolean
}

/**
 * Asks the server to end a statement that is under way. The driver's own `cancel()` drops the promise of the request it
 * sends: Postgres answers by closing the connection, and a way that is broken, the likeliest reason to give a statement
 * up, fails it. Either would be an unhandled rejection, which ends the process; and so would that of a fragment, which is
 * never sent and awaited by nobody.
 */
export function cancel(query: PromiseLike<unknown>): void {
  const cancellable: Cancellable = query
  if (cancellable.executed !== true) return
  const send = cancellable.canceller
  cancellable.canceller = null
  send?.(cancellable).catch(() => {})
}
