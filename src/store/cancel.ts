/** A statement of the driver, with the function that its `cancel()` calls; its types leave that out. */
interface Cancellable extends PromiseLike<unknown> {
  canceller?: ((query: Cancellable) => Promise<void>) | null
}

/**
 * Asks the server to end a statement that is under way. The driver's own `cancel()` drops the promise of the request it
 * sends: Postgres answers by closing the connection, and a way that is broken, the likeliest reason to give a statement
 * up, fails it. Either would be an unhandled rejection, which ends the process.
 */
export function cancel(query: PromiseLike<unknown>): void {
  const cancellable: Cancellable = query
  const send = cancellable.canceller
  cancellable.canceller = null
  send?.(cancellable).catch(() => {})
}
